"""Which layers of a net can carry adapters, and why the others cannot."""

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from torch import nn

from plt_nn.errors import did_you_mean
from plt_nn.text import and_more

_KINDS = (nn.Linear, nn.Conv2d)
# Subclasses whose forward is their own, and yet linear in the weight.
_LINEAR_IN_WEIGHT = ("timm.layers.linear.Linear", "timm.layers.conv2d_same.Conv2dSame")


@dataclass(frozen=True)
class AdaptableLayers:
    """The layers that a phase's adapters go to.

    Args:
        layers: Their names, in the net's order.
        passed_over: The selected layers with weights that cannot be adapted: the reasons by name.
        faults: What is wrong with the request, each fault as a clause.
    """

    layers: tuple[str, ...] = ()
    passed_over: Mapping[str, str] = field(default_factory=dict)
    faults: tuple[str, ...] = ()


def adaptable_layers(module: nn.Module, selected: Set[str], target: Sequence[str] | None) -> AdaptableLayers:
    """The layers that get adapters: all that can among those selected, or those that `target` names.

    A glob takes what can be adapted of what it matches; a name that cannot be adapted is a fault.

    Args:
        module: The net, or a module that holds it.
        selected: Names of the parameters that would be trained if there were no adapters, without the head's.
        target: Globs over module names, from any of their parts on. Default: every layer that can be adapted.
    """
    obstacles = _obstacles(module, selected)
    good = [name for name, obstacle in obstacles.items() if not obstacle]
    weighty = {name for name in obstacles if _has_weights(module, name, selected)}
    if target is None:
        passed_over = {name: obstacles[name] for name in obstacles if name in weighty and obstacles[name]}
        nothing = [] if good else [f"there is nothing to adapt but the head{_reasons(passed_over)}"]
        return AdaptableLayers(tuple(good), passed_over, tuple(nothing))
    taken, passed_over, faults = set[str](), dict[str, str](), list[str]()
    for pattern in target:
        matched = [name for name in obstacles if _matches(name, pattern)]
        blocked = {name: obstacles[name] for name in matched if obstacles[name]}
        taken |= set(matched) - set(blocked)
        if not matched:
            ends = [name.rpartition(".")[2] for name in good]
            elsewhere = any(_matches(name, pattern) for name, _ in module.named_modules())
            hint = " It is in what the phase does not select, or in the head." if elsewhere else ""
            faults.append(
                f"target {pattern!r} matches no layer that is selected.{hint or did_you_mean(pattern, good + ends)}"
            )
        elif blocked and (len(blocked) == len(matched) or not set(pattern) & set("*?[")):
            faults.append(f"target {pattern!r} cannot be adapted{_reasons(blocked)}")
        passed_over |= {name: reason for name, reason in blocked.items() if name in weighty}
    return AdaptableLayers(tuple(name for name in good if name in taken), passed_over, tuple(faults))


def _obstacles(module: nn.Module, selected: Set[str]) -> dict[str, str]:
    """For each module that holds selected parameters, why it cannot be adapted; empty if it can."""
    uses = Counter(id(p) for part in module.modules() for p in part._parameters.values() if p is not None)
    owners = {name.rpartition(".")[0] for name in selected}
    holders = {"", *owners, *(start for owner in owners for start in _starts(owner))}
    return {
        name: _obstacle(part, f"{name}.weight" in selected, uses)
        if name in owners
        else f"is a {type(part).__name__}, not a single layer"
        for name, part in module.named_modules()
        if name in holders
    }


def _obstacle(layer: nn.Module, is_selected: bool, uses: Mapping[int, int]) -> str:
    kind = type(layer)
    if isinstance(layer, nn.MultiheadAttention):
        return "keeps the weights of queries, keys and values in one parameter, which peft makes again at each step"
    if not isinstance(layer, _KINDS):
        return f"is a {kind.__name__}; adapters are for Linear and Conv2d layers"
    if not is_selected and "weight" in layer._parameters:
        return "has a weight that is not selected"
    if "forward" in vars(layer) or not _is_plain(kind):
        return f"is a {kind.__name__} with a forward of its own, so what it learns could not be merged into its weight"
    if not isinstance(layer._parameters.get("weight"), nn.Parameter):
        return "computes its weight from others (a parametrization)"
    if uses[id(layer.weight)] > 1:
        return "shares its weight with another layer"
    if isinstance(layer, nn.Conv2d):
        return _obstacle_of_convolution(layer)
    return ""


def _obstacle_of_convolution(layer: nn.Conv2d) -> str:
    if layer.groups > 1:  # peft's update mixes all channels
        return f"is a convolution in {layer.groups} groups, into which what it learns could not be merged"
    if any(step != 1 for step in layer.dilation) or layer.padding_mode != "zeros":
        return "is a convolution with dilation or padding other than zeros, which peft's adapters do not have"
    return ""


def _is_plain(kind: type[nn.Module]) -> bool:
    if f"{kind.__module__}.{kind.__qualname__}" in _LINEAR_IN_WEIGHT:
        return True
    # peft makes its convolutions with the class of the layer, whose arguments must be those of torch's.
    return kind in _KINDS or (issubclass(kind, nn.Linear) and kind.forward is nn.Linear.forward)


def _has_weights(module: nn.Module, name: str, selected: Set[str]) -> bool:
    prefix = f"{name}." if name else ""
    own = module.get_submodule(name).named_parameters(recurse=False)
    return any(f"{prefix}{key}" in selected and "weight" in key and p.dim() > 1 for key, p in own)


def _matches(name: str, pattern: str) -> bool:
    parts = name.split(".")
    return any(fnmatchcase(".".join(parts[first:]), pattern) for first in range(len(parts)))


def _starts(path: str) -> list[str]:
    parts = path.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def _reasons(obstacles: Mapping[str, str]) -> str:
    return f": {and_more((f'{name} {reason}' for name, reason in obstacles.items()), 3)}" if obstacles else ""
