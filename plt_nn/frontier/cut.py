"""Cuts a net where it stops being frozen: the part before always gives the same output for the same input."""

import operator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from plt_nn.errors import NotCuttable
from plt_nn.frontier.dry_run import SideEffects, dry_run
from plt_nn.frontier.features_and_head import cut_features_and_head
from plt_nn.frontier.guard import CutGuard
from plt_nn.frontier.partition import partition
from plt_nn.frontier.tracing import Traced, trace
from plt_nn.text import first_line

__all__ = ["STANDS_IN", "Crossing", "Frontier", "Layout", "NotCuttable", "cut"]

STANDS_IN = "stands_in_for_the_class"  # attribute of a function that replaces `forward` and runs the class's own


@dataclass(frozen=True)
class Layout:
    """How rows form the values that cross a frontier; the same for every batch.

    Args:
        spec: The structure of the values that cross.
        stand_ins: Shape after the first dimension, and dtype, of tensors of which the suffix needs only these.
        constants: Numbers that cross, such as the sides of a feature map, and their positions among the tensors.
    """

    spec: pytree.TreeSpec
    stand_ins: tuple[tuple[torch.Size, torch.dtype], ...]
    constants: tuple[tuple[int, int | float | bool | None], ...] = ()


@dataclass(frozen=True)
class Crossing:
    """The values that cross a frontier for one batch.

    Args:
        rows: Tensors `(N, ...)`: a row for each sample.
        layout: How rows form the values.
    """

    rows: tuple[Tensor, ...]
    layout: Layout


@dataclass(frozen=True)
class Frontier:
    """A module in two parts that consist of its own submodules: they share its weights, hooks, modes and gradients.

    `after(before(x))` is what the module gives for `x`.

    Args:
        prefix: From the module's inputs to the values that cross; all of it is frozen.
        suffix: From the values that cross to the module's output.
        crosses: The names of these values in the graph, such as `blocks_5`.
        tensors: The parameters and buffers of the prefix, by their names in the module.
        guard: Checks that the module is unchanged since it was cut.
    """

    prefix: fx.GraphModule
    suffix: fx.GraphModule
    crosses: tuple[str, ...]
    tensors: dict[str, Tensor] = field(repr=False)
    guard: CutGuard = field(repr=False)

    def before(self, *inputs: Any) -> Crossing:
        """Runs the prefix on N samples, which gives no gradients because all of it is frozen.

        Raises:
            NotCuttable: If what crosses does not have a row for each sample, or gets gradients.
        """
        # Gradients stay switched on: without them torch computes some modules, such as LSTMs, differently.
        values, shaped = pytree.tree_map_only(Tensor, _detached, self.prefix(*inputs))
        leaves, spec = pytree.tree_flatten(values)
        constants = tuple((place, leaf) for place, leaf in enumerate(leaves) if isinstance(leaf, int | float | None))
        rows = [leaf for leaf in leaves if not isinstance(leaf, int | float | None)]
        if not rows:
            raise NotCuttable("nothing crosses but sizes")
        samples = next(len(leaf) for leaf in pytree.tree_leaves(inputs) if isinstance(leaf, Tensor))
        for leaf in (*rows, *shaped):
            if not isinstance(leaf, Tensor) or leaf.ndim == 0 or len(leaf) != samples:
                what = f"shape {tuple(leaf.shape)}" if isinstance(leaf, Tensor) else type(leaf).__name__
                where = ", ".join(self.crosses)
                raise NotCuttable(f"what crosses at {where} ({what}) does not have a row for each of {samples} samples")
        stand_ins = tuple((leaf.shape[1:], leaf.dtype) for leaf in shaped)
        return Crossing(tuple(rows), Layout(spec, stand_ins, constants))

    def after(self, crossing: Crossing) -> Any:
        """Runs the suffix."""
        first, leaves = crossing.rows[0], list[Any](crossing.rows)
        for place, constant in crossing.layout.constants:
            leaves.insert(place, constant)
        values = pytree.tree_unflatten(leaves, crossing.layout.spec)
        stand_ins = [
            torch.empty((), dtype=dtype, device=first.device).expand(len(first), *shape)
            for shape, dtype in crossing.layout.stand_ins
        ]
        return self.suffix(*values, *stand_ins)


def cut(module: nn.Module) -> Frontier:
    """Cuts a module, in its present mode, where it stops being frozen.

    A part is frozen if it gets no gradients, draws no random numbers and counts no statistics.

    Args:
        module: Any module that `torch.fx` can trace, apart from what in it is wholly frozen or wholly trained; or that
            has `forward_features` and `forward_head` as its two steps, of which the first is frozen.

    Raises:
        NotCuttable: If there is nothing to compute beforehand, or the module cannot be traced.
    """
    if all(parameter.requires_grad for parameter in module.parameters()):
        raise NotCuttable("nothing is frozen")
    own = vars(module).get("forward")
    if own is not None and not getattr(own, STANDS_IN, False):
        raise NotCuttable(f"this {type(module).__name__} has a forward pass of its own in place of its class's")
    with dry_run(module) as effects:
        net, traced, are_buffers_fixed = _traced(module)
        parts = partition(traced.graph, net)
        prefix = fx.GraphModule(net, parts.prefix, "Prefix")
        suffix = fx.GraphModule(net, parts.suffix, "Suffix")
        has_drawn = effects.has_drawn()
    _require_no_effects(module, effects, has_drawn)
    modules = {name: net.get_submodule(name) for name in _called(parts.prefix)}
    if not any(True for part in modules.values() for _ in part.parameters()):
        raise NotCuttable("nothing that is frozen comes before all that is trained")
    tensors = {f"{name}.{key}": tensor for name, part in modules.items() for key, tensor in _tensors(part).items()}
    tensors |= {name: operator.attrgetter(name)(prefix) for name in _attributes(parts.prefix)}
    named = [name for name in (*_attributes(parts.prefix), *_attributes(parts.suffix)) if _is_in(net, name)]
    fixed = [b for part in traced.looked_into for b in part.buffers(recurse=False)] if are_buffers_fixed else []
    guard = CutGuard.of(module, traced, tuple(modules.values()), [*tensors.values()], fixed, net, named)
    return Frontier(prefix, suffix, parts.crosses, tensors, guard)


def _require_no_effects(module: nn.Module, effects: SideEffects, has_drawn: bool) -> None:
    """Checks that tracing a module has changed nothing, because its graph would not change it.

    Raises:
        NotCuttable: If its forward pass has side effects.
    """
    for what, names in (("buffer", effects.buffers), ("attribute", [name for _, name in effects.attributes])):
        if names:
            raise NotCuttable(f"{type(module).__name__} changes its {what} {names[0]!r} in every forward pass")
    if has_drawn:
        raise NotCuttable(f"{type(module).__name__} decides by random numbers what its forward pass does")


def _traced(net: nn.Module) -> tuple[nn.Module, Traced, bool]:
    """The module whose submodules a graph calls, its trace, and whether the graph knows the values of buffers.

    The module is the net, or one that is made of its parts.
    """
    for are_buffers_fixed in (False, True):
        try:
            return net, trace(net, are_buffers_fixed=are_buffers_fixed), are_buffers_fixed
        except Exception as error:  # noqa: BLE001 -- whatever the net's forward raises when it is run on symbols
            reason = error
    steps = cut_features_and_head(net)
    if steps is not None:
        return steps, Traced(steps.graph(), [net], set()), False
    raise NotCuttable(f"{type(net).__name__} cannot be traced ({first_line(reason)})") from reason


def _detached(tensor: Tensor) -> Tensor:
    if tensor.requires_grad:
        raise NotCuttable("what crosses gets gradients")
    return tensor


def _called(graph: fx.Graph) -> list[str]:
    """The names of the modules that a graph calls."""
    return list(dict.fromkeys(str(node.target) for node in graph.nodes if node.op == "call_module"))


def _attributes(graph: fx.Graph) -> list[str]:
    """The names of the tensors that a graph takes from the module."""
    return list(dict.fromkeys(str(node.target) for node in graph.nodes if node.op == "get_attr"))


def _is_in(module: nn.Module, name: str) -> bool:
    """Whether a module has an attribute; other tensors that the trace has found are in the graph alone."""
    try:
        return operator.attrgetter(name)(module) is not None
    except AttributeError:
        return False


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}
