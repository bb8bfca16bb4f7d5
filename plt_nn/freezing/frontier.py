"""Cuts a net where it stops being frozen: what comes before gives the same output for the same input, always."""

import operator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from plt_nn.freezing.no_frontier import NoFrontier
from plt_nn.freezing.partition import partition
from plt_nn.freezing.tracing import trace
from plt_nn.freezing.two_steps import in_two_steps

__all__ = ["Crossing", "Frontier", "Layout", "NoFrontier", "cut"]


@dataclass(frozen=True)
class Layout:
    """How the values that cross a frontier are made of rows; the same for every batch.

    Args:
        spec: How the tensors and the constants lie in the values that cross.
        stand_ins: Shape after the first dimension, and dtype, of the tensors of which the rest needs only these.
        constants: Numbers that cross, such as the sides of a feature map, and their places among the tensors.
    """

    spec: pytree.TreeSpec
    stand_ins: tuple[tuple[torch.Size, torch.dtype], ...]
    constants: tuple[tuple[int, int | float | bool | None], ...] = ()


@dataclass(frozen=True)
class Crossing:
    """What crosses a frontier for one batch.

    Args:
        rows: Tensors `(N, ...)`: a row for each sample.
        layout: How to go on from them.
    """

    rows: tuple[Tensor, ...]
    layout: Layout


@dataclass(frozen=True)
class Frontier:
    """A module in two parts that are made of its own submodules: weights, hooks, modes and gradients stay its own.

    `after(before(x))` is what the module gives for `x`.

    Args:
        prefix: From the module's inputs to what crosses; all of it is frozen.
        suffix: From what crosses to the module's output.
        crosses: What the values that cross are called in the graph, such as `blocks_5`.
        tensors: The parameters and buffers of the prefix, by their names in the module.
        still: The submodules of the prefix that are in eval mode.
        modes: The modules that were looked into, whose mode is a part of the graphs, and that mode.
    """

    prefix: fx.GraphModule
    suffix: fx.GraphModule
    crosses: tuple[str, ...]
    tensors: dict[str, Tensor] = field(repr=False)
    still: tuple[nn.Module, ...] = field(repr=False)
    modes: tuple[tuple[nn.Module, bool], ...] = field(repr=False)

    def before(self, *inputs: Any) -> Crossing:
        """Runs the prefix. As all of it is frozen there are no gradients, whether they are switched on or not.

        Args:
            inputs: The module's inputs for N samples.

        Raises:
            NoFrontier: If what crosses has not a row for each sample, or gets gradients.
        """
        # Gradients stay switched on: without them torch runs some modules, such as LSTMs, in another way.
        values, shaped = pytree.tree_map_only(Tensor, _detached, self.prefix(*inputs))
        leaves, spec = pytree.tree_flatten(values)
        constants = tuple((place, leaf) for place, leaf in enumerate(leaves) if isinstance(leaf, int | float | None))
        rows = [leaf for leaf in leaves if not isinstance(leaf, int | float | None)]
        if not rows:
            raise NoFrontier("nothing crosses but sizes")
        samples = next(len(leaf) for leaf in pytree.tree_leaves(inputs) if isinstance(leaf, Tensor))
        for leaf in (*rows, *shaped):
            if not isinstance(leaf, Tensor) or leaf.ndim == 0 or len(leaf) != samples:
                what = f"shape {tuple(leaf.shape)}" if isinstance(leaf, Tensor) else type(leaf).__name__
                where = ", ".join(self.crosses)
                raise NoFrontier(f"what crosses at {where} ({what}) has not a row for each of {samples} samples")
        stand_ins = tuple((leaf.shape[1:], leaf.dtype) for leaf in shaped)
        return Crossing(tuple(rows), Layout(spec, stand_ins, constants))

    def after(self, crossing: Crossing) -> Any:
        """Runs the suffix.

        Args:
            crossing: What has crossed.
        """
        first, leaves = crossing.rows[0], list[Any](crossing.rows)
        for place, constant in crossing.layout.constants:
            leaves.insert(place, constant)
        values = pytree.tree_unflatten(leaves, crossing.layout.spec)
        stand_ins = [
            torch.empty((), dtype=dtype, device=first.device).expand(len(first), *shape)
            for shape, dtype in crossing.layout.stand_ins
        ]
        return self.suffix(*values, *stand_ins)

    def is_valid(self) -> bool:
        """Whether what was frozen and still when the module was cut is so yet."""
        trained = any(tensor.requires_grad for tensor in self.tensors.values())
        awake = any(module.training for module in self.still)
        return not trained and not awake and all(module.training == mode for module, mode in self.modes)


def cut(module: nn.Module) -> Frontier:
    """Cuts a module, in its present mode, where it stops being frozen: what gets no gradient and is still is frozen.

    Args:
        module: Any module that `torch.fx` can trace, apart from what in it is wholly frozen or wholly trained; or that
            has `forward_features` and `forward_head` as its two steps, of which the first is frozen.

    Raises:
        NoFrontier: If there is nothing to compute beforehand, or the module cannot be traced.
    """
    if all(parameter.requires_grad for parameter in module.parameters()):
        raise NoFrontier("nothing is frozen")
    mode = (module, module.training)
    module, graph = _graph_of(module)
    parts = partition(graph, module)
    used = [str(node.target) for node in parts.prefix.nodes if node.op == "call_module"]
    modules = {name: module.get_submodule(name) for name in dict.fromkeys(used)}
    if not any(True for part in modules.values() for _ in part.parameters()):
        raise NoFrontier("nothing that is frozen comes before all that is trained")
    tensors = {f"{name}.{key}": tensor for name, part in modules.items() for key, tensor in _tensors(part).items()}
    for node in parts.prefix.nodes:
        if node.op == "get_attr":
            tensors[str(node.target)] = operator.attrgetter(str(node.target))(module)
    return Frontier(
        fx.GraphModule(module, parts.prefix, "Prefix"),
        fx.GraphModule(module, parts.suffix, "Suffix"),
        parts.crosses,
        tensors,
        tuple(inner for part in modules.values() for inner in part.modules() if not inner.training),
        (mode, *_looked_into(module, graph)),
    )


def _graph_of(net: nn.Module) -> tuple[nn.Module, fx.Graph]:
    """The graph of a net, and the module whose submodules it calls: the net, or one that is made of its parts."""
    buffers = [(name, buffer, buffer._version, buffer.clone()) for name, buffer in net.named_buffers()]
    try:
        graph = trace(net)
    except Exception as error:  # whatever the net's forward raises when it is run on symbols
        steps = in_two_steps(net)
        if steps is not None:
            return steps, steps.graph()
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise NoFrontier(f"{type(net).__name__} cannot be traced ({reason})") from error
    finally:
        changed = [entry for entry in buffers if entry[1]._version != entry[2]]
        with torch.no_grad():
            for _, buffer, _, value in changed:
                buffer.copy_(value)
    if changed:  # by the trace, which has left the change out of the graph
        raise NoFrontier(f"{type(net).__name__} changes its buffer {changed[0][0]!r} in every forward pass")
    return net, graph


def _detached(tensor: Tensor) -> Tensor:
    if tensor.requires_grad:
        raise NoFrontier("what crosses gets gradients")
    return tensor


def _looked_into(module: nn.Module, graph: fx.Graph) -> tuple[tuple[nn.Module, bool], ...]:
    leaves = {str(node.target) for node in graph.nodes if node.op == "call_module"}
    found = []
    for name, part in module.named_modules():
        parts = name.split(".")
        if not any(".".join(parts[: count + 1]) in leaves for count in range(len(parts))):
            found.append((part, part.training))
    return tuple(found)


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}
