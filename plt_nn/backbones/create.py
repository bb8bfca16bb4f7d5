"""Creates pretrained nets by name, and lists which there are."""

import re
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from plt_nn.backbones import timm_nets, torchvision_nets
from plt_nn.backbones.heads import set_num_classes
from plt_nn.backbones.info import BackboneInfo, attach_info
from plt_nn.backbones.load_into_net import load_weights
from plt_nn.backbones.packages import PREFIX, installed_packages, package_file
from plt_nn.backbones.preprocessing import Preprocessing
from plt_nn.backbones.weights import read_weights
from plt_nn.errors import ConfigError, PltNNError, WeightsError, did_you_mean


class _Library(Protocol):
    """What a module of a library of nets, such as `timm_nets`, must offer."""

    def names(self, tagged: bool) -> list[str]: ...
    def cached(self) -> list[str]: ...
    def tags(self, net: str) -> list[str]: ...
    def build(self, name: str, model_args: dict[str, Any]) -> nn.Module: ...
    def download(self, name: str, model_args: dict[str, Any]) -> nn.Module: ...
    def convert(self, weights: dict[str, Tensor], net: nn.Module) -> dict[str, Tensor] | None: ...
    def preprocessing(self, name: str, net: nn.Module, model_args: dict[str, Any]) -> Preprocessing: ...


LIBRARIES: Mapping[str, _Library] = {"timm": timm_nets, "torchvision": torchvision_nets}
_OWN_ARGUMENTS = ("num_classes", "pretrained", "weights", "checkpoint_path")


def create_backbone(
    name: str,
    pretrained: bool | str = True,
    num_classes: int | None = None,
    model_args: dict[str, Any] | None = None,
) -> nn.Module:
    """Creates a net of timm or torchvision with its pretrained weights; `backbone_info` tells how they were trained.

    Args:
        name: `"timm/NAME"` or `"torchvision/NAME"`, optionally with the tag of the weights: `"timm/resnet50.a1_in1k"`,
            `"torchvision/resnet50.IMAGENET1K_V1"`. `list_backbones` lists them.
        pretrained: `True`: the weights the library downloads. `False`: random weights. `"package:efficientnet-lite0"`:
            the weights of an installed package (`packages.PACKAGES`). Any other text: the path of a `.safetensors`,
            `.pth`, `.pt`, `.bin` or `.ckpt` file, read without running anything in it.
        num_classes: Number of outputs. If the weights have another number, the net gets a new head. Default: the number
            of the weights, until the data are known (`BackboneInfo.num_classes_given`).
        model_args: Further arguments of the library's builder, such as `{"drop_path_rate": 0.1}`.

    Raises:
        ConfigError: The name, `num_classes` or `model_args` cannot be used.
        WeightsError: The weights are missing, cannot be downloaded, are unsafe, or belong to another net.

    Example:
        A ResNet with a new head for two classes; without `pretrained=False`, timm's weights are downloaded.

        >>> import torch
        >>> from plt_nn import create_backbone
        >>> from plt_nn.backbones import backbone_info
        >>> net = create_backbone("timm/resnet10t", pretrained=False, num_classes=2)
        >>> net(torch.zeros(4, 3, 64, 64)).shape
        torch.Size([4, 2])
        >>> backbone_info(net).preprocessing.size
        176
    """
    library, net_name = _find(name)
    pretrained = pretrained if isinstance(pretrained, bool) else str(pretrained)  # a Path is as good as a text
    if num_classes is not None and num_classes < 1:
        raise ConfigError(f"num_classes is {num_classes}; expected at least 1, or None for the weights' own.")
    args = _checked(model_args or {})
    file = _file(pretrained, name) if isinstance(pretrained, str) else None
    weights = read_weights(file) if file is not None else {}
    net = _build(library.download if pretrained is True else library.build, net_name, args)
    if file is not None:
        _load(net, name, weights, file, library)
    preprocessing = library.preprocessing(net_name, net, args)
    attach_info(net, BackboneInfo(name, pretrained, num_classes is not None, preprocessing, args))
    if num_classes is not None:
        set_num_classes(net, num_classes)
    return net


def list_backbones(pattern: str = "*") -> list[str]:
    """The names that `create_backbone` takes.

    Args:
        pattern: Shell-style pattern, such as `"timm/*lite*"` or `"torchvision/resnet*"`. With a dot in it, names with
            the tags of their weights are listed: `"timm/resnet50.*"`.

    Returns:
        Sorted names with their library; empty where nothing matches.
    """
    wanted = pattern.partition("/")[0]
    libraries = [library for library in LIBRARIES if "/" not in pattern or fnmatchcase(library, wanted)]
    names = [f"{library}/{net}" for library in libraries for net in LIBRARIES[library].names(tagged="." in pattern)]
    return sorted(name for name in names if fnmatchcase(name, pattern))


def weights_at_hand() -> list[tuple[str, bool | str]]:
    """The nets whose weights are on this machine: pairs of `name` and `pretrained` for `create_backbone`, sorted.

    They come from installed packages (`packages.PACKAGES`) and from earlier downloads of timm and torchvision.
    """
    found: dict[str, bool | str] = {}
    for library, nets in LIBRARIES.items():
        found |= {f"{library}/{name}": True for name in nets.cached()}
    found |= {name: pretrained for pretrained, name in installed_packages().items()}
    return sorted(found.items())


def check_backbone_name(name: str) -> None:
    """Checks that there is a net of this name, without building it.

    Raises:
        ConfigError: There is none; the text suggests the nearest names.
    """
    _find(name)


def _find(name: str) -> tuple[_Library, str]:
    """The library of a net, and the name of the net in it."""
    library, _, full = name.partition("/")
    net, _, tag = full.partition(".")
    if library not in LIBRARIES or not net:
        raise ConfigError(
            f"The backbone is {name!r}; expected LIBRARY/NAME such as 'timm/resnet50', where LIBRARY is "
            f"{' or '.join(LIBRARIES)}.{did_you_mean(name, list_backbones())}"
        )
    known = LIBRARIES[library].names(tagged=False)
    if net not in known:
        raise ConfigError(f"{library} has no classification net {net!r}.{did_you_mean(net, known)}")
    tags = LIBRARIES[library].tags(net)
    if tag and tag not in tags:
        raise ConfigError(f"{library} has no weights {tag!r} of {net}.{did_you_mean(tag, tags)}")
    return LIBRARIES[library], full


def _checked(model_args: dict[str, Any]) -> dict[str, Any]:
    own = [argument for argument in _OWN_ARGUMENTS if argument in model_args]
    if own:
        raise ConfigError(
            f"model_args has {', '.join(own)}; give the number of classes and the weights as the arguments num_classes "
            "and pretrained."
        )
    return dict(model_args)


def _build(build: Callable[[str, dict[str, Any]], nn.Module], net_name: str, args: dict[str, Any]) -> nn.Module:
    try:
        return build(net_name, args)
    except PltNNError:
        raise
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        if not args:
            raise  # without arguments, the fault is not the caller's
        raise ConfigError(f"model_args {args} cannot be used for {net_name}: {error}") from error


def _file(pretrained: str, name: str) -> Path:
    """The file of weights that `pretrained` names."""
    if pretrained.startswith(PREFIX):
        return package_file(pretrained.removeprefix(PREFIX), name)
    return Path(pretrained).expanduser()


def _load(net: nn.Module, name: str, weights: dict[str, Tensor], file: Path, library: _Library) -> None:
    """Loads the weights of a file; an error suggests nets with names like that of the file."""
    try:
        load_weights(net, weights, f"'{file}' does not fit {name}", library.convert)
    except WeightsError as error:
        like = re.sub(r"-[0-9a-f]{8,}$", "", file.stem).replace("-", "_")  # without the digest of downloads
        others = [other for other in list_backbones() if other != name]
        near = did_you_mean(f"{name.partition('/')[0]}/{like}", others)
        raise WeightsError(f"{error}\nCheck the name of the net.{near}", error.faults) from error
