import numpy as np
import pytest
import torch
from PIL import Image

from plt_nn.backbones import Preprocessing
from plt_nn.deployment.preprocessing_net import PreprocessingNet
from plt_nn.errors import ConfigError

SHADE = 1 / 255 / 0.224  # of normalised pixels


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "box", "hamming", "lanczos"])
@pytest.mark.parametrize(("width", "height"), [(97, 61), (61, 97), (40, 40), (30, 200)])
def test_it_is_pillows_to_a_shade(interpolation: str, width: int, height: int) -> None:
    preprocessing = Preprocessing(size=32, interpolation=interpolation, crop_pct=0.9)
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    expected = preprocessing.evaluation_transform()(Image.fromarray(pixels))
    found = PreprocessingNet(preprocessing)(torch.from_numpy(pixels).unsqueeze(0))[0]
    assert found.shape == expected.shape
    difference = (found - expected).abs()
    assert difference.max() <= SHADE * 1.01
    assert (difference > SHADE / 2).float().mean() < 0.05


@pytest.mark.parametrize(
    "changed", [{"crop_mode": "border"}, {"crop_mode": "squash"}, {"interpolation": "nearest"}, {"size": (32, 40)}]
)
def test_what_it_cannot_do_is_refused(changed: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="--with-preprocessing cannot be used"):
        PreprocessingNet(Preprocessing(**changed))  # type: ignore[arg-type]  # one of its arguments
