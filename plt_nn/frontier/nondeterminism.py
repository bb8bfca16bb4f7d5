"""Which modules and functions give different results for the same input although their weights are frozen."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd

_RANDOM_METHODS = frozenset(
    ("bernoulli", "bernoulli_", "cauchy_", "exponential_", "geometric_", "log_normal_", "multinomial", "normal_")
    + ("random_", "uniform_")
)
_RANDOM_FUNCTIONS = frozenset(
    (torch.bernoulli, torch.multinomial, torch.normal, torch.poisson, torch.rand, torch.rand_like, torch.randint)
    + (torch.randint_like, torch.randn, torch.randn_like, torch.randperm, F.gumbel_softmax)
    + (F.fractional_max_pool2d, F.fractional_max_pool3d)
)
# Functions that are random only in training: position, name and default of the arguments that say so.
_RANDOM_IN_TRAINING: dict[Any, tuple[tuple[int, str, object], ...]] = {
    F.dropout: ((1, "p", 0.5), (2, "training", True)),
    torch.dropout: ((1, "p", 0.5), (2, "train", True)),
    F.dropout1d: ((1, "p", 0.5), (2, "training", True)),
    F.dropout2d: ((1, "p", 0.5), (2, "training", True)),
    F.dropout3d: ((1, "p", 0.5), (2, "training", True)),
    F.alpha_dropout: ((1, "p", 0.5), (2, "training", False)),
    F.feature_alpha_dropout: ((1, "p", 0.5), (2, "training", False)),
    F.rrelu: ((3, "training", False),),
    F.scaled_dot_product_attention: ((4, "dropout_p", 0.0),),
    F.batch_norm: ((5, "training", False),),
    F.instance_norm: ((5, "use_input_stats", True),),
}


def is_active(module: nn.Module) -> bool:
    """Whether a module's output may depend on more than its weights and, sample by sample, its input.

    True for active dropout and stochastic depth, norms that use a batch's own statistics, modules with hooks, and
    modules of unknown classes in training mode.
    """
    return any(_is_active_itself(part) for part in module.modules())


def is_live(module: nn.Module) -> bool:
    """Whether a module's output for the same input may change: a part is trained, or active."""
    return any(parameter.requires_grad for parameter in module.parameters()) or is_active(module)


def has_hooks(module: nn.Module) -> bool:
    """Whether a module has hooks of its forward or backward pass."""
    inner: Any = module
    return bool(inner._forward_hooks or inner._forward_pre_hooks or inner._backward_hooks or inner._backward_pre_hooks)


def is_random(node: fx.Node) -> bool:
    """Whether a function or a method in a graph draws random numbers, or uses a batch's own statistics."""
    if node.op == "call_method":
        return node.target in _RANDOM_METHODS
    if node.op != "call_function":
        return False
    if getattr(node.target, "__name__", "") == "stochastic_depth":  # torchvision's
        return bool(_argument(node, 3, "training", True))
    if node.target in _RANDOM_IN_TRAINING:
        return all(_argument(node, *argument) for argument in _RANDOM_IN_TRAINING[node.target])
    return node.target in _RANDOM_FUNCTIONS


def _is_active_itself(module: nn.Module) -> bool:
    if has_hooks(module):
        return True
    if isinstance(module, _NormBase) and not _has_statistics(module) and not _is_instance_norm(module):
        return True  # statistics of the batch, in every mode
    if not module.training:
        return False
    if isinstance(module, _NormBase):
        return not _is_instance_norm(module) or module.track_running_stats
    if isinstance(module, _DropoutNd):
        return module.p > 0
    if isinstance(module, nn.RReLU | nn.FractionalMaxPool2d | nn.FractionalMaxPool3d):
        return True
    if isinstance(module, nn.MultiheadAttention | nn.RNNBase):
        return bool(module.dropout)
    return not type(module).__module__.startswith("torch.nn.modules.")


def _has_statistics(module: _NormBase) -> bool:
    """Whether a norm has a `running_mean`; getattr would make a node in a trace, after a slow search."""
    places: tuple[Mapping[str, Any], ...] = (module._buffers, module._parameters, vars(module))
    return any(place.get("running_mean") is not None for place in places)


def _is_instance_norm(module: nn.Module) -> bool:
    return isinstance(module, nn.InstanceNorm1d | nn.InstanceNorm2d | nn.InstanceNorm3d)


def _argument(node: fx.Node, place: int, name: str, default: object) -> object:
    return node.args[place] if len(node.args) > place else node.kwargs.get(name, default)
