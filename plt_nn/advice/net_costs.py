"""The costs of a net, found without training it, and the distance of its images from those of the pretraining."""

import warnings
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from plt_nn.backbones import backbone_info, stages
from plt_nn.errors import ConfigError
from plt_nn.freezing.costs.flops import Flops, count_flops, without_memory

_SAMPLES = 2  # of a pass without values; BatchNorm needs two


@dataclass(frozen=True)
class NetCosts:
    """The costs of a net.

    Args:
        parameters: Number of parameters without the head.
        forward: Operations of a forward pass per image; None if they cannot be counted.
        training_bytes: Memory per image of the activations that training the whole net needs for the backward pass;
            None if it cannot be found out.
    """

    parameters: int
    forward: float | None
    training_bytes: float | None


def net_costs(net: nn.Module, size: int) -> NetCosts:
    """The costs of a net of `create_backbone` for images of a side in pixels."""
    parameters = sum(net.get_parameter(name).numel() for stage in stages(net)[:-1] for name in stage.parameters)
    flops = flops_of(net, size)
    return NetCosts(parameters, flops.forward if flops else None, _activation_memory(net, size))


def flops_of(net: nn.Module, size: int, last: int = 0) -> Flops | None:
    """The operations per image when the head and the `last` stages are trained; None if they cannot be counted."""
    parts = stages(net)
    trained = {name for stage in parts[len(parts) - 1 - last :] for name in stage.parameters}
    try:
        return count_flops(net, (_images(net, size),), trained)
    except ConfigError:
        return None


def batchnorm_shift(net: nn.Module, images: Tensor) -> float | None:
    """The distance of the means in BatchNorm layers from those of the pretraining, in its standard deviations.

    It is measured on images `(N, C, H, W)` by a pretrained net in eval mode: the root mean square over a layer's
    channels, averaged over the layers. None for a net without BatchNorm.
    """
    shifts: list[float] = []

    def look(layer: _BatchNorm, inputs: tuple[Tensor, ...]) -> None:
        if layer.running_mean is not None and layer.running_var is not None:
            x = inputs[0].float()
            means = x.mean([0, *range(2, x.dim())])
            gaps = (means - layer.running_mean) / (layer.running_var + layer.eps).sqrt()
            shifts.append(float(gaps.square().mean().sqrt()))

    with torch.no_grad(), ExitStack() as hooks:
        for layer in net.modules():
            if isinstance(layer, _BatchNorm):
                hooks.enter_context(layer.register_forward_pre_hook(look))
        net(images)
    return sum(shifts) / len(shifts) if shifts else None


def _activation_memory(net: nn.Module, size: int) -> float | None:
    sizes = dict[int, int]()
    parameters = {name for name, _ in net.named_parameters()}

    def keep(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter):
            storage = tensor.untyped_storage()
            sizes[storage._cdata] = storage.nbytes()
        return tensor

    with torch.enable_grad(), torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            copy = without_memory(net, parameters)
            with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
                output = copy(_images(net, size))
            del output
        except Exception:  # noqa: BLE001  # the net's forward runs on tensors without values, which may raise anything
            return None
    return sum(sizes.values()) / _SAMPLES


def _images(net: nn.Module, size: int) -> Tensor:
    """Images for a net of `create_backbone`, without memory for their pixels."""
    info = backbone_info(net)
    return torch.empty(_SAMPLES, 3 if info is None else len(info.preprocessing.mean), size, size, device="meta")
