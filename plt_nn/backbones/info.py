"""What `create_backbone` knows about a net, attached to the net itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from plt_nn.backbones.preprocessing import Preprocessing

_ATTRIBUTE = "plt_nn_backbone"


@dataclass(frozen=True)
class BackboneInfo:
    """Where a net came from and what its images must look like.

    Args:
        name: Library and net, such as `"timm/resnet50.a1_in1k"`.
        pretrained: The weights as they were asked for: `True`, `False`, `"package:NAME"` or a path.
        num_classes_given: Whether the caller fixed the number of classes; if not, the head still has the weights' own
            and is to be replaced once the data is known (`set_num_classes`).
        preprocessing: What the weights were trained with.
        model_args: Further arguments of the library's builder.
    """

    name: str
    pretrained: bool | str
    num_classes_given: bool
    preprocessing: Preprocessing
    model_args: Mapping[str, Any] = field(default_factory=dict)


def backbone_info(net: nn.Module) -> BackboneInfo | None:
    """What `create_backbone` attached to this net.

    Args:
        net: Any module; only the module itself is looked at, not its children.

    Returns:
        The information, or `None` where `create_backbone` did not build the net. It survives copies and pickling.
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
    """Makes `backbone_info(net)` answer with `info`."""
    setattr(net, _ATTRIBUTE, info)
