"""Where a net came from and what its weights expect; attached to the net by `create_backbone`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from plt_nn.backbones.preprocessing import Preprocessing

_ATTRIBUTE = "plt_nn_backbone"


@dataclass(frozen=True)
class BackboneInfo:
    """Where a net came from and how its images must be prepared.

    Args:
        name: Library and net, such as `"timm/resnet50.a1_in1k"`.
        pretrained: The argument of `create_backbone`: `True`, `False`, `"package:NAME"` or a path.
        num_classes_given: Whether the caller chose the number of classes. If not, the head still has the number of the
            weights, and is replaced when the data are known (`set_num_classes`).
        preprocessing: The preprocessing that the weights were trained with.
        model_args: Further arguments of the library's builder.
    """

    name: str
    pretrained: bool | str
    num_classes_given: bool
    preprocessing: Preprocessing
    model_args: Mapping[str, Any] = field(default_factory=dict)


def backbone_info(net: nn.Module) -> BackboneInfo | None:
    """The information that `create_backbone` attached to a net; `None` for a net that it did not create.

    Copies and pickles of a net keep it.

    Args:
        net: Any module; its children are not searched.
    """
    info = getattr(net, _ATTRIBUTE, None)
    return info if isinstance(info, BackboneInfo) else None


def inner_preprocessing(module: object) -> Preprocessing | None:
    """What the weights of a backbone expect, at `module` itself, `module.net`, `module.net.net` and so on.

    Args:
        module: Such as a LightningModule; None and other objects have no preprocessing.
    """
    while isinstance(module, nn.Module):
        info = backbone_info(module)
        if info is not None:
            return info.preprocessing
        module = getattr(module, "net", None)
    return None


def attach_info(net: nn.Module, info: BackboneInfo) -> None:
    """Sets what `backbone_info(net)` returns."""
    setattr(net, _ATTRIBUTE, info)
