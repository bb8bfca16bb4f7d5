"""A quiet trainer on the CPU, and small tensors in loaders whose last batch is short."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

Loader = DataLoader[tuple[Tensor, ...]]


@pytest.fixture
def trainer() -> Callable[..., Trainer]:
    """Makes a trainer; keyword arguments go to it."""

    def make(**arguments: Any) -> Trainer:
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        return Trainer(**{"accelerator": "cpu", "max_epochs": 1, "enable_checkpointing": False, **quiet, **arguments})

    return make


@pytest.fixture
def loader() -> Callable[..., Loader]:
    """Makes a loader of tensors; by default its batches are as uneven as 32, 32, 7."""

    def make(*tensors: Tensor, batch_size: int = 32) -> Loader:
        return DataLoader(TensorDataset(*tensors), batch_size=batch_size)

    return make


@pytest.fixture
def linear() -> Callable[[int, int], nn.Linear]:
    """Makes a linear layer with weights that do not depend on what ran before."""

    def make(inputs: int, outputs: int) -> nn.Linear:
        layer = nn.Linear(inputs, outputs)
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            layer.weight.copy_(torch.randn(outputs, inputs, generator=generator))
            layer.bias.copy_(torch.randn(outputs, generator=generator))
        return layer

    return make
