"""Low-rank adapters around single layers. The only file that imports peft, which the extra `lora` installs."""

from collections.abc import Sequence
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora.layer import Conv2d, Linear
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from plt_nn.freezing.adapters.adapt import Adapt


# Some nets read a layer's weight instead of calling the layer (attention in torch, in torchvision's Swin and in timm's
# BEiT, EVA and Swin V2; nn.TransformerEncoderLayer in eval mode), or ask layers for their sizes (timm's DaViT). peft
# returns the weight without adapters, which would then have no effect, and raises an AttributeError for sizes. These
# classes return the adapted weight, and the sizes.
class AdaptedLinear(Linear):
    """peft's linear layer with adapters; its `weight` is the merged one, through which gradients flow to them."""

    weight = property(lambda layer: merged_weight(layer))

    def __getattr__(self: nn.Module, name: str) -> Any:
        """What nn.Module would find in the layer, or else what the layer has that is in it."""
        try:
            return nn.Module.__getattr__(self, name)
        except AttributeError:
            base = vars(self).get("_modules", {}).get("base_layer")  # there is none yet while a copy is being made
            if base is None:
                raise
            return getattr(base, name)


class AdaptedConv2d(Conv2d):
    """peft's convolution with adapters; its `weight` is the merged one, through which gradients flow to them."""

    weight = AdaptedLinear.weight
    __getattr__ = AdaptedLinear.__getattr__


AdaptedLayer = AdaptedLinear | AdaptedConv2d
_CLASSES: dict[type[nn.Module], type[nn.Module]] = {nn.Linear: AdaptedLinear, nn.Conv2d: AdaptedConv2d}


def adapt_layers(layers: Sequence[nn.Module], adapt: Adapt, name: str) -> list[AdaptedLayer]:
    """Puts one more adapter around each layer; its A is drawn from torch's random numbers, its B is 0.

    The layers' own tensors are neither copied nor changed. All adapters of a layer are active, so their updates add up.
    The adapters have the device, dtype and training mode of the layer, and require gradients.

    Args:
        layers: Linear and convolutional layers, each once, or layers that an earlier call has adapted.
        adapt: Rank, alpha and dropout.
        name: The adapters' name, unlike those that the layers have.

    Returns:
        The adapted layers, in the same order.
    """
    own = [(parameter, parameter.requires_grad) for layer in layers for parameter in layer.parameters()]
    alpha = adapt.rank if adapt.alpha is None else adapt.alpha
    config = LoraConfig(
        r=adapt.rank,
        lora_alpha=alpha,  # type: ignore[arg-type]  # it divides this by the rank, so any number does
        lora_dropout=adapt.dropout,
        target_modules=r"\d+",
    )
    config._register_custom_module(_CLASSES)  # how peft's guide for custom models says to give it layers of one's own
    # In the whole net peft would match names by their ends, miss a layer that has two names, and add an attribute: so
    # it gets only the layers.
    adapted = [_adapted(layer) for layer in inject_adapter_in_model(config, nn.ModuleList(layers), name).children()]
    for parameter, required in own:
        parameter.requires_grad_(required)
    for layer in adapted:
        layer.set_adapter(list(layer.lora_A))
        layer.train(layer.get_base_layer().training)
    return adapted


def merged_weight(layer: nn.Module) -> Tensor:
    """The weight of a layer with its adapters merged, in the weight's dtype; bit for bit that of `unwrap`."""
    layer = _adapted(layer)
    weight = layer.get_base_layer().weight
    assert isinstance(weight, Tensor)
    for name in layer.lora_A:
        weight = weight + layer.get_delta_weight(name).to(weight.dtype)
    return weight


def unwrap(layer: nn.Module) -> nn.Module:
    """Merges the adapters into the weight, in place, and returns the original layer."""
    layer = _adapted(layer)
    with torch.no_grad():
        layer.merge(adapter_names=list(layer.lora_A))
    return layer.get_base_layer()


def has_adapters(module: nn.Module) -> bool:
    """Whether any layer of the module has adapters of peft, of whatever kind."""
    return any(isinstance(part, BaseTunerLayer) for part in module.modules())


def _adapted(layer: nn.Module) -> AdaptedLayer:
    assert isinstance(layer, AdaptedLayer)
    return layer
