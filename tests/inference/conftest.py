"""A small model of images in a folder, as training leaves it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from plt_nn.architectures import ConvNet
from plt_nn.backbones import Preprocessing
from plt_nn.inference.card import ModelCard
from plt_nn.inference.inputs import ImageInputs

NET: dict[str, Any] = {
    "class_path": "plt_nn.ConvNet",
    "init_args": {"in_channels": 3, "channels": [4, 4], "out_features": 3},
}


@pytest.fixture
def card() -> ModelCard:
    return ModelCard("classification", NET, ImageInputs(Preprocessing(size=16)), ("ant", "bee", "fly"))


@pytest.fixture
def model_folder(tmp_path: Path, card: ModelCard) -> Path:
    return write_model(tmp_path / "model", card)


def write_model(folder: Path, card: ModelCard) -> Path:
    """A folder with a card and random weights for its net."""
    torch.manual_seed(0)
    net = ConvNet(**NET["init_args"])
    folder.mkdir()
    save_file({f"net.{name}": tensor for name, tensor in net.state_dict().items()}, folder / "best.safetensors")
    (folder / "model.json").write_text(card.to_json())
    return folder


@pytest.fixture
def noise() -> Callable[[int], Image.Image]:
    """An image that no other number gives."""
    return lambda seed: Image.fromarray(np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8))
