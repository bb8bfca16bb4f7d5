"""A module that records what it is given, a small trainer for it, and folders of pictures."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from PIL import Image
from torch import Tensor, nn

from plt_nn.data import Batch


class Recorder(LightningModule):
    """Learns one number, and keeps the batches it is given: by stage, in order."""

    def __init__(self, net: nn.Module | None = None) -> None:
        super().__init__()
        self.net = net
        self.scale = nn.Parameter(torch.ones(()))
        self.seen: dict[str, list[Batch]] = {"train": [], "val": [], "test": [], "predict": []}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.seen["train"].append(batch)
        assert isinstance(batch.x, Tensor)
        return (self.scale * batch.x).square().mean()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.seen["val"].append(batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self.seen["test"].append(batch)

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.seen["predict"].append(batch)
        return batch.index

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def indices(self, stage: str) -> list[list[int]]:
        """The sample indices of each batch."""
        return [batch.index.tolist() for batch in self.seen[stage]]

    def read(self, stage: str) -> list[int]:
        """The sample indices of all batches, one after another."""
        return [index for indices in self.indices(stage) for index in indices]


@pytest.fixture
def recorder() -> Callable[..., Recorder]:
    return Recorder


@pytest.fixture
def trainer(tmp_path: Path) -> Callable[..., Trainer]:
    def build(**arguments: Any) -> Trainer:
        quiet: dict[str, Any] = {
            "accelerator": "cpu",
            "devices": 1,
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "default_root_dir": tmp_path,
            "max_epochs": 1,
            "num_sanity_val_steps": 0,
        }
        return Trainer(**quiet | arguments)

    return build


@pytest.fixture
def picture() -> Callable[..., Path]:
    """Writes a picture in which no two neighbouring columns are alike."""

    def write(path: Path, size: tuple[int, int] = (24, 16), shade: int = 0, **options: Any) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        red = Image.linear_gradient("L").resize(size)
        Image.merge("RGB", [red, red.rotate(180), Image.new("L", size, shade % 256)]).save(path, **options)
        return path

    return write


@pytest.fixture
def class_folder(picture: Callable[..., Path]) -> Callable[..., Path]:
    """Writes `counts` pictures into each class folder, named by two digits."""

    def write(folder: Path, **counts: int) -> Path:
        for name, count in counts.items():
            (folder / name).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                picture(folder / name / f"{number:02}.png", shade=number)
        return folder

    return write
