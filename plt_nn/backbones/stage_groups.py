"""The parameters of a net in groups from input to output: by name for known nets, by execution order for others."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from plt_nn.backbones.execution import ordered_units

# For each class the groups from input to output: a parameter belongs to the first pattern that it matches, and within
# that to the number that the pattern captures. Parameters without a match come last (a norm or a layer before the
# classifier); the classifier is removed later. Most nets of timm have a `group_matcher` of their own; those listed here
# have none, or one that is not in execution order.
PATTERNS: dict[str, tuple[str, ...]] = {
    "timm.models.cait.Cait": (
        r"cls_token|pos_embed|patch_embed",
        r"blocks\.(\d+)",
        r"blocks_token_only\.(\d+)",
    ),
    "timm.models.csatv2.CSATv2": (r"stem_dct", r"stages\.(\d+)"),
    "timm.models.metaformer.MetaFormer": (r"stem", r"stages\.(\d+)"),
    "timm.models.pit.PoolingVisionTransformer": (r"cls_token|pos_embed|patch_embed", r"transformers\.(\d+)"),
    "torchvision.models.convnext.ConvNeXt": (r"features\.0", r"features\.(\d+)"),
    "torchvision.models.densenet.DenseNet": (
        r"features\.(?:conv|norm)0",
        r"features\.(?:denseblock|transition)(\d)",
    ),
    "torchvision.models.efficientnet.EfficientNet": (r"features\.0", r"features\.(\d+)"),
    "torchvision.models.googlenet.GoogLeNet": (
        r"conv[123]",
        *(f"inception{name}" for name in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")),
    ),
    "torchvision.models.inception.Inception3": (
        r"Conv2d_[12]",
        r"Conv2d_[34]",
        *(f"Mixed_{name}" for name in ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c")),
    ),
    "torchvision.models.maxvit.MaxVit": (r"stem", r"blocks\.(\d)"),
    "torchvision.models.mnasnet.MNASNet": (r"layers\.[0-7]\.", r"layers\.([89]|1[0-3])\."),
    "torchvision.models.mobilenetv2.MobileNetV2": (r"features\.0\.", r"features\.(\d+)"),
    "torchvision.models.mobilenetv3.MobileNetV3": (r"features\.0\.", r"features\.(\d+)"),
    "torchvision.models.regnet.RegNet": (r"stem", r"trunk_output\.block(\d)"),
    "torchvision.models.resnet.ResNet": (r"conv1|bn1", r"layer(\d)"),
    "torchvision.models.shufflenetv2.ShuffleNetV2": (r"conv1", r"stage(\d)"),
    "torchvision.models.squeezenet.SqueezeNet": (r"features\.0", r"features\.(\d+)"),
    "torchvision.models.swin_transformer.SwinTransformer": (r"features\.0", r"features\.(\d)"),
    "torchvision.models.vgg.VGG": (r"features\.0", r"features\.(\d+)", r"classifier\.(\d)"),
    "torchvision.models.alexnet.AlexNet": (r"features\.0", r"features\.(\d+)", r"classifier\.(\d)"),
    "torchvision.models.vision_transformer.VisionTransformer": (
        r"class_token|conv_proj|encoder\.pos_embedding",
        r"encoder\.layers\.encoder_layer_(\d+)",
    ),
}
_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)  # the first: batch and instance norm

Matcher = dict[Any, Any] | Callable[[str], Any]


def parameter_groups(net: nn.Module) -> list[list[str]]:
    """The names of all parameters of a net in groups from input to output; each name is in one group.

    Args:
        net: A net of timm (grouped by its `group_matcher`), of torchvision (by `PATTERNS`), or any other (by execution
            order; a net of timm or torchvision inside it contributes its own groups).
    """
    matcher = group_matcher(net)
    if matcher is None:
        groups = _groups_of_units(net)
    else:
        from timm.models import group_parameters

        groups = list(group_parameters(net, matcher).values())
    return _join_norms(net, [group for group in groups if group])


def is_known(net: nn.Module) -> bool:
    """Whether the net is of timm or torchvision, or has a `group_matcher` as timm's nets do."""
    return group_matcher(net) is not None


def group_matcher(net: nn.Module) -> Matcher | None:
    """How the parameters of a known net are grouped, as timm's `group_parameters` takes it; `None` for other nets."""
    for base in type(net).__mro__:
        patterns = PATTERNS.get(f"{base.__module__}.{base.__qualname__}")
        if patterns:
            return dict(enumerate(patterns))
    own = getattr(type(net), "group_matcher", None)  # of the type, because a compiled net has its net's attributes
    if not callable(own):
        return None
    try:
        matcher: Matcher = own(net, coarse=True)
    except AssertionError:  # timm's RDNet has one granularity
        matcher = own(net, coarse=False)
    return _keep_tails(matcher) if isinstance(matcher, Mapping) else matcher


def _keep_tails(matcher: Mapping[Any, Any]) -> Matcher:
    """The matcher with a separate group for what timm adds to the previous one (the norm after the last block)."""
    from timm.models._manipulate import MATCH_PREV_GROUP

    own_group = (MATCH_PREV_GROUP[0] - 1,)
    return {
        name: [(pattern, own_group if suffix == MATCH_PREV_GROUP else suffix) for pattern, suffix in spec]
        if isinstance(spec, list | tuple)
        else spec
        for name, spec in matcher.items()
    }


def _groups_of_units(net: nn.Module) -> list[list[str]]:
    """One group for each unit of an unknown net, in execution order."""
    remaining = dict(net.named_parameters())  # names a shared parameter once
    groups = []
    for unit in ordered_units(net, is_known):
        for inner in _groups_of_unit(net.get_submodule(unit)):
            group = [name for name in (f"{unit}.{part}" for part in inner) if name in remaining]
            groups.append(group)
            remaining = {name: parameter for name, parameter in remaining.items() if name not in group}
    direct = list(remaining)  # parameters of the net itself: class tokens, positions
    return [direct + groups[0], *groups[1:]] if groups else [direct]


def _groups_of_unit(unit: nn.Module) -> list[list[str]]:
    return parameter_groups(unit) if is_known(unit) else [[name for name, _ in unit.named_parameters()]]


def _join_norms(net: nn.Module, groups: list[list[str]]) -> list[list[str]]:
    """The groups, with a single norm joined to a single layer before it (a convolution and its BatchNorm)."""
    joined: list[list[str]] = []
    for group in groups:
        owners = _owners(group)
        lone = len(owners) == 1 and isinstance(net.get_submodule(owners.pop()), _NORMS)
        if joined and lone and len(_owners(joined[-1])) == 1:
            joined[-1] = joined[-1] + group
        else:
            joined.append(group)
    return joined


def _owners(group: list[str]) -> set[str]:
    return {name.rpartition(".")[0] for name in group}
