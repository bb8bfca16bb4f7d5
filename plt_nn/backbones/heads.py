"""Finds the classifier of a net, and gives it another number of classes."""

from typing import Any

from torch import nn

from plt_nn.backbones.execution import wrapped_path
from plt_nn.backbones.stage_groups import is_known, parameter_groups
from plt_nn.errors import ConfigError

AUXILIARY = ("aux1.fc2", "aux2.fc2", "AuxLogits.fc", "aux_head")  # of GoogLeNet, of InceptionV3, of VOLO


def set_num_classes(net: nn.Module, num_classes: int) -> None:
    """Gives a net a new head for another number of classes, in place, on the device and in the dtype of the old one.

    The last linear or convolutional layer of the classifier gets new weights, initialised by torch's default, and so do
    the auxiliary classifiers of GoogLeNet, InceptionV3 and VOLO. Nothing else changes: timm's `reset_classifier`, which
    also replaces pretrained norms in some heads, is used only for nets without a head. If the head already has this
    number of classes, it keeps its weights.

    Args:
        net: A net of timm or torchvision, or any whose last layer is `nn.Linear` or a convolution.
        num_classes: Number of outputs, at least 1.

    Raises:
        ConfigError: `num_classes` is below 1, or the net has no such layer.
    """
    if num_classes < 1:
        raise ConfigError(f"num_classes is {num_classes}; expected at least 1.")
    net = net.get_submodule(wrapped_path(net, is_known))
    if num_outputs(net) == num_classes:
        return
    layers = output_layers(net)
    if layers:
        auxiliary = set(AUXILIARY).intersection(name for name, _ in net.named_modules())
        for name in [*layers, *auxiliary]:
            _resize(net.get_submodule(name), num_classes)
        if "num_classes" in vars(net):
            vars(net)["num_classes"] = num_classes
    elif callable(getattr(net, "reset_classifier", None)):
        _attach(net, num_classes)
    else:
        found = " and ".join(classifier_names(net)) or "none"
        raise ConfigError(
            f"The classifier of {type(net).__name__} (found: {found}) does not end in a linear layer or a convolution, "
            "so its number of classes cannot be changed. Replace it yourself."
        )


def classifier_names(net: nn.Module) -> list[str]:
    """The names of the modules that map features to classes: several in distilled nets, none in a net without a head.

    For nets of timm they are what `get_classifier()` returns (bare encoders have none); for others the attribute
    `head`, or else the last module that has parameters of its own.
    """
    path = wrapped_path(net, is_known)
    if path:
        return [f"{path}.{name}".removesuffix(".") for name in classifier_names(net.get_submodule(path))]
    get_classifier = getattr(net, "get_classifier", None)
    if callable(get_classifier):
        found = get_classifier()
        wanted = {id(module) for module in ([found] if isinstance(found, nn.Module) else found)}
        return [name for name, module in net.named_modules() if id(module) in wanted]
    if type(net).__module__.startswith("timm."):
        return []
    if any(name.startswith("head.") for name, _ in net.named_parameters()):
        return ["head"]
    groups = parameter_groups(net)
    return [groups[-1][-1].rpartition(".")[0]] if groups else []


def output_layers(net: nn.Module) -> list[str]:
    """The name of the last layer of each part of the classifier, where that layer is linear or a convolution."""
    layers = []
    for classifier in classifier_names(net):
        for part in _parts(net, classifier):
            owners = [
                (name, module)
                for name, module in net.get_submodule(part).named_modules(prefix=part)
                if next(module.parameters(recurse=False), None) is not None
            ]
            if owners and isinstance(owners[-1][1], nn.Linear | nn.Conv2d):
                layers.append(owners[-1][0])
    return layers


def num_outputs(net: nn.Module) -> int | None:
    """The number of classes of the head; `None` for a net without a head."""
    layers = output_layers(net)
    layer: Any = net.get_submodule(layers[0]) if layers else None
    return int(layer.weight.shape[0]) if layers else None


def _parts(net: nn.Module, classifier: str) -> list[str]:
    """The parts of a classifier that each output all classes, as in timm's CrossViT, EfficientViM and RepViT."""
    module = net.get_submodule(classifier)
    if isinstance(module, nn.ModuleList) or hasattr(module, "head_dist"):
        return [f"{classifier}.{name}" for name, _ in module.named_children()]
    return [classifier]


def _attach(net: Any, num_classes: int) -> None:
    """Gives a head to a net of timm without one, on the net's device, in its dtype and mode."""
    like = list(net.parameters())[-1]
    net.reset_classifier(num_classes)
    for name in classifier_names(net):
        net.get_submodule(name).to(device=like.device, dtype=like.dtype).train(net.training)


def _resize(layer: Any, num_classes: int) -> None:
    """Gives a linear layer or a convolution new weights for another number of outputs, in place."""
    layer.weight = nn.Parameter(layer.weight.new_empty((num_classes, *layer.weight.shape[1:])))
    if layer.bias is not None:
        layer.bias = nn.Parameter(layer.bias.new_empty(num_classes))
    setattr(layer, "out_features" if isinstance(layer, nn.Linear) else "out_channels", num_classes)
    layer.reset_parameters()
