"""Divides a net's graph into the frozen part and the rest. Pure."""

import operator
from collections import Counter
from collections.abc import Iterable, Set
from dataclasses import dataclass
from enum import Enum
from typing import Any

from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from plt_nn.errors import NotCuttable
from plt_nn.frontier.aliasing import memory_of
from plt_nn.frontier.nondeterminism import is_live, is_random
from plt_nn.frontier.tracing import WITHOUT_GRADIENTS

# Attributes and methods that do not depend on the values of a tensor.
_SIZES = frozenset(("shape", "ndim", "dtype", "device", "is_cuda", "itemsize"))
_SIZE_METHODS = frozenset(
    ("size", "dim", "ndimension", "numel", "stride", "get_device", "is_contiguous", "element_size")
)


class Kind(Enum):
    """What a node's value depends on.

    FREE: neither on the values of the inputs nor on what is trained. FROZEN: on the inputs alone. LIVE: on more.
    """

    FREE = "free"
    FROZEN = "frozen"
    LIVE = "live"


@dataclass(frozen=True)
class Parts:
    """A graph in two parts.

    Args:
        prefix: From the inputs to a pair: the values that cross, and tensors whose shape alone the suffix needs.
        suffix: From this pair to the output.
        crosses: The names of the values that cross.
    """

    prefix: fx.Graph
    suffix: fx.Graph
    crosses: tuple[str, ...]


def partition(graph: fx.Graph, module: nn.Module) -> Parts:
    """Divides a graph of `trace` where it stops being frozen.

    Raises:
        NotCuttable: If a node of the suffix runs without gradients, or is checkpointed, in the module.
    """
    changes, origins = memory_of(graph, module)
    live: set[fx.Node] = set()  # values that cannot cross
    while True:
        kinds = _kinds(graph, module, changes, origins, live)
        (output,) = (node for node in graph.nodes if node.op == "output")
        rest, crossing, shaped = _behind([output, *(node for node in changes if kinds[node] is Kind.LIVE)], kinds)
        # The suffix must not change the values that cross: they may be needed again.
        changed = {origins[target] for node, target in changes.items() if kinds[node] is Kind.LIVE}
        names = Counter(origins[node] for node in crossing)
        torn = {origin for origin in changed if names[origin] > 1} - live
        if not torn:
            break
        live |= torn  # values that share memory which is changed: stored rows would no longer share it
    _require_gradients(node for node in graph.nodes if node in rest and kinds[node] is Kind.LIVE)
    frozen = _with_inputs([*crossing, *shaped, *(node for node in changes if kinds[node] is Kind.FROZEN)])
    frozen |= {node for node in graph.nodes if node.op == "placeholder"}
    prefix = _graph(graph, frozen, [], (tuple(crossing), tuple(shaped)))
    copied = {node for node in crossing if origins[node] in changed}
    suffix = _graph(graph, rest, [*crossing, *shaped], output.args[0], copied)
    return Parts(prefix, suffix, tuple(node.name for node in crossing))


def copy_of(value: Any) -> Any:
    """A copy of a value whose tensors may be changed in place."""
    return pytree.tree_map_only(Tensor, Tensor.clone, value)


def _kinds(
    graph: fx.Graph,
    module: nn.Module,
    changes: dict[fx.Node, fx.Node],
    origins: dict[fx.Node, fx.Node],
    live: set[fx.Node],
) -> dict[fx.Node, Kind]:
    kinds: dict[fx.Node, Kind] = {}
    changed: set[fx.Node] = set()  # by a live node: later nodes see another value than the prefix has
    seen: set[fx.Node] = set()  # by a live node
    # A buffer that the forward pass changes, such as a counter, differs each time.
    counters = {origins[target].target for target in changes.values() if origins[target].op == "get_attr"}
    for node in graph.nodes:
        inputs = node.all_input_nodes
        target = changes.get(node)
        is_counter = node.op == "get_attr" and node.target in counters
        depends = any(kinds[i] is Kind.LIVE or origins[i] in changed for i in inputs)
        if depends or is_counter or node in live or _makes_live(node, module):
            kinds[node] = Kind.LIVE
        elif target is not None and origins[target] in seen:
            kinds[node] = Kind.LIVE  # a live node has seen the value before this one changes it
        elif node.op == "placeholder":
            kinds[node] = Kind.FROZEN
        elif _asks_for_size(node) or all(kinds[i] is Kind.FREE for i in inputs):
            kinds[node] = Kind.FREE
        else:
            kinds[node] = Kind.FROZEN
        if kinds[node] is Kind.LIVE:
            seen |= {origins[i] for i in inputs}
            if target is not None:
                changed.add(origins[target])
    return kinds


def _makes_live(node: fx.Node, module: nn.Module) -> bool:
    """Whether a node's value is live although its inputs are not."""
    if node.op == "call_module":
        return is_live(module.get_submodule(str(node.target)))
    if node.op == "get_attr":
        value: Any = operator.attrgetter(str(node.target))(module)
        return isinstance(value, Tensor) and value.requires_grad
    if node.op == "call_method" and node.target in ("item", "tolist"):
        return True  # numbers of this batch; those that cross must be the same for all batches
    return is_random(node)


def _asks_for_size(node: fx.Node) -> bool:
    if node.op == "call_method":
        return node.target in _SIZE_METHODS
    return node.op == "call_function" and node.target is getattr and node.args[1] in _SIZES


def _require_gradients(nodes: Iterable[fx.Node]) -> None:
    """Checks that no node runs without gradients or is checkpointed, which a graph would not repeat."""
    for node in nodes:
        if node.meta.get(WITHOUT_GRADIENTS):
            raise NotCuttable(f"{node.name}, which is not frozen, runs without gradients or is checkpointed")


def _behind(ends: Iterable[fx.Node], kinds: dict[fx.Node, Kind]) -> tuple[set[fx.Node], list[fx.Node], list[fx.Node]]:
    """The nodes behind the frontier, the values that cross it, and those of which only the shape is needed."""
    behind: set[fx.Node] = set()
    crossing: dict[fx.Node, None] = {}
    shaped: dict[fx.Node, None] = {}
    stack = list(ends)
    while stack:
        node = stack.pop()
        if node in behind:
            continue
        behind.add(node)
        for needed in node.all_input_nodes:
            if kinds[needed] is not Kind.FROZEN:
                stack.append(needed)
            elif kinds.get(node) is Kind.FREE:
                shaped[needed] = None
            else:
                crossing[needed] = None
    behind = {node for node in behind if node.op != "output"}
    return behind, sorted(crossing), sorted(shaped.keys() - crossing.keys())


def _with_inputs(nodes: Iterable[fx.Node]) -> set[fx.Node]:
    found: set[fx.Node] = set()
    stack = list(nodes)
    while stack:
        node = stack.pop()
        if node not in found:
            found.add(node)
            stack += node.all_input_nodes
    return found


def _graph(
    graph: fx.Graph, nodes: set[fx.Node], inputs: list[fx.Node], output: Any, copied: Set[fx.Node] = frozenset()
) -> fx.Graph:
    """A graph of some nodes, in their order; some of its inputs are copied first."""
    new = fx.Graph()
    copies = {node: new.placeholder(node.name) for node in inputs}
    copies |= {node: new.call_function(copy_of, (copies[node],)) for node in inputs if node in copied}
    for node in graph.nodes:
        if node in nodes and node not in copies:
            copies[node] = new.node_copy(node, copies.__getitem__)
    new.output(fx.map_arg(output, copies.__getitem__))
    return new
