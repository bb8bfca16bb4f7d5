"""Our transforms against timm's and torchvision's own."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, ImageOps

from plt_nn.backbones import Preprocessing, torchvision_nets
from plt_nn.errors import ConfigError


def _of_timm(config: dict[str, Any]) -> Preprocessing:
    height, width = config["input_size"][1:]
    return Preprocessing(
        size=height if height == width else (height, width),
        interpolation=config["interpolation"],
        crop_pct=config["crop_pct"],
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        crop_mode=config["crop_mode"],
    )


def test_every_configuration_of_timm(image: Image.Image) -> None:
    import timm
    from timm.data.config import resolve_data_config
    from timm.data.transforms_factory import create_transform

    configs = {}
    for name in timm.list_pretrained():
        config = resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())  # type: ignore[no-untyped-call,union-attr]
        configs[str(config)] = config
    assert {config["crop_mode"] for config in configs.values()} == {"center", "squash", "border"}
    assert len(configs) > 100
    for config in configs.values():
        ours, theirs = _of_timm(config).evaluation_transform()(image), create_transform(**config)(image)
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)


def test_all_weights_of_torchvision(image: Image.Image) -> None:
    from torchvision.models import get_model_weights

    for name in torchvision_nets.names(tagged=True):
        net, _, tag = name.partition(".")
        preprocessing = torchvision_nets.preprocessing(name, torch.nn.Identity(), {})
        ours, theirs = preprocessing.evaluation_transform()(image), get_model_weights(net)[tag].transforms()(image)
        torch.testing.assert_close(ours, theirs, atol=1e-6 / min(preprocessing.std), rtol=1e-6)


@pytest.mark.photos
@pytest.mark.parametrize("crop_mode", ["center", "squash", "border"])
def test_photographs(photos: Path, crop_mode: str) -> None:
    from timm.data.transforms_factory import create_transform

    ours = Preprocessing(128, "bicubic", 0.875, (0.5,) * 3, (0.5,) * 3, crop_mode).evaluation_transform()
    theirs = create_transform(
        128, interpolation="bicubic", crop_pct=0.875, mean=(0.5,) * 3, std=(0.5,) * 3, crop_mode=crop_mode
    )
    for path in sorted((photos / "val" / "bees").glob("*.jpg"))[:8]:
        with Image.open(path) as photo:
            photograph = photo.convert("RGB")
        torch.testing.assert_close(ours(photograph), theirs(photograph), atol=1e-6, rtol=1e-6)


def test_the_output_is_a_plain_float_tensor(image: Image.Image) -> None:
    output = Preprocessing((32, 48)).evaluation_transform()(image)
    assert (type(output), output.dtype, output.shape) == (torch.Tensor, torch.float32, (3, 32, 48))


def test_default_training_crops_and_flips(image: Image.Image) -> None:
    torch.manual_seed(0)
    train = Preprocessing(32).training_transform()
    outputs = [train(image) for _ in range(8)]
    assert all(output.shape == (3, 32, 32) for output in outputs)
    assert len({float(output.sum()) for output in outputs}) == 8


def test_no_augmentation_is_the_evaluation_transform(image: Image.Image) -> None:
    preprocessing = Preprocessing(32)
    assert preprocessing.training_transform([])(image).equal(preprocessing.evaluation_transform()(image))


def test_augmentation_is_fitted_only_where_it_must_be(image: Image.Image) -> None:
    from torchvision.transforms import v2

    preprocessing = Preprocessing(32, crop_pct=0.5)
    flip = preprocessing.training_transform([v2.RandomHorizontalFlip(p=1.0)])
    assert flip(image).equal(preprocessing.evaluation_transform()(ImageOps.mirror(image)))
    sized = preprocessing.training_transform([v2.Resize((32, 32))])
    whole = Preprocessing(32, crop_pct=1.0, crop_mode="squash").evaluation_transform()
    assert sized(image).equal(whole(image))


def test_transforms_can_be_sent_to_workers(image: Image.Image) -> None:
    from torchvision.transforms import v2

    for transform in (Preprocessing(32).evaluation_transform(), Preprocessing(32).training_transform([v2.Identity()])):
        assert pickle.loads(pickle.dumps(transform))(image).equal(transform(image))


def test_with_size() -> None:
    assert Preprocessing(224, "bicubic").with_size(128) == Preprocessing(128, "bicubic")
    assert Preprocessing(224).with_size((96, 64)).size == (96, 64)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 0}, "size is 0; expected pixels, at least 1"),
        ({"crop_pct": 0.0}, "crop_pct is 0.0; expected a fraction above 0"),
        ({"interpolation": "bicubik"}, "'bicubik'. Did you mean 'bicubic'"),
        ({"crop_mode": "centre"}, "'centre'. Did you mean 'center'"),
    ],
)
def test_faults(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Preprocessing(**arguments)
