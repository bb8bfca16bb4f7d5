"""Which nodes of a graph change a value in place, and which values share memory."""

import operator
from collections.abc import Iterator
from typing import Any, NamedTuple

from torch import fx, nn

from plt_nn.frontier.dry_run import dry_run
from plt_nn.frontier.nondeterminism import is_live
from plt_nn.frontier.tracing import in_place, trace

_IN_PLACE = frozenset((operator.setitem, in_place))
# Functions and methods whose result may share memory with their first argument.
_VIEWS = frozenset(
    ("getitem", "getattr", "view", "view_as", "reshape", "reshape_as", "flatten", "unflatten", "ravel", "transpose")
    + ("permute", "swapaxes", "swapdims", "movedim", "moveaxis", "adjoint", "t", "squeeze", "unsqueeze", "expand")
    + ("expand_as", "broadcast_to", "narrow", "select", "unbind", "chunk", "split", "split_with_sizes", "tensor_split")
    + ("hsplit", "vsplit", "dsplit", "diagonal", "unfold", "as_strided", "real", "imag", "contiguous", "to", "type")
    + ("type_as", "float", "half", "double", "bfloat16", "long", "int", "cpu", "cuda", "detach", "dropout")
    + ("dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout", "stochastic_depth")
)


_OF_EVERY_MODULE = frozenset(vars(nn.Module())) - {"training"}
_Known = dict[tuple[object, ...], bool]


class Memory(NamedTuple):
    """Which values of a graph share memory, and which nodes write to it.

    Args:
        changes: The nodes that change a value in place, or may do so, and the node whose value it is.
        origins: For each node the first node whose memory its value may use.
    """

    changes: dict[fx.Node, fx.Node]
    origins: dict[fx.Node, fx.Node]


def memory_of(graph: fx.Graph, module: nn.Module) -> Memory:
    """Which values of a graph share memory, and which nodes write to it.

    A module is traced into only if it matters what it does to its input. If nothing else uses the value, and the module
    is frozen, the module may be assumed to change it.
    """
    changes, origins = _of_functions(graph, module)
    known: _Known = {}
    needed = _needed(graph)
    for node, first, called in _modules(graph, module, changes):
        is_alone = node in needed and _is_alone(node, first, called, origins)
        if is_alone or _writes_to_input(called, known):
            changes[node] = first
    return Memory(changes, origins)


def _of_functions(graph: fx.Graph, module: nn.Module) -> Memory:
    """The changes by functions, methods and `out` arguments, and the memory of all values.

    The memory does not depend on what modules change.
    """
    changes: dict[fx.Node, fx.Node] = {}
    origins: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        changed = _changed_by(node)
        first = node.args[0] if node.args and _is_view(node, module) else None
        if changed is not None:
            changes[node] = changed
            first = first if node.op == "call_module" else changed  # a function returns what it has changed
        origins[node] = origins[first] if isinstance(first, fx.Node) else node
    return Memory(changes, origins)


def _modules(
    graph: fx.Graph, module: nn.Module, changes: dict[fx.Node, fx.Node]
) -> Iterator[tuple[fx.Node, fx.Node, nn.Module]]:
    """The nodes that call a module whose changes are unknown, their first inputs, and these modules."""
    for node in graph.nodes:
        if node.op == "call_module" and node.all_input_nodes and node not in changes:
            yield node, node.all_input_nodes[0], module.get_submodule(str(node.target))


def _needed(graph: fx.Graph) -> set[fx.Node]:
    """The nodes on which the output depends."""
    needed: set[fx.Node] = set()
    for node in reversed(graph.nodes):
        if node.op == "output" or any(user in needed for user in node.users):
            needed.add(node)
    return needed


def _is_alone(node: fx.Node, first: fx.Node, called: nn.Module, origins: dict[fx.Node, fx.Node]) -> bool:
    """Whether only this node uses its only input, and whether it is frozen if the input is."""
    has_own_memory = first.op not in ("placeholder", "get_attr") and origins[first] is first
    return has_own_memory and node.all_input_nodes == [first] and [*first.users] == [node] and not is_live(called)


def _is_view(node: fx.Node, module: nn.Module) -> bool:
    if node.op == "call_module":  # such as an activation, dropout that is off, or an empty sequence
        return not any(True for _ in module.get_submodule(str(node.target)).parameters())
    return node.op in ("call_method", "call_function") and getattr(node.target, "__name__", node.target) in _VIEWS


def _changed_by(node: fx.Node) -> fx.Node | None:
    """The node whose value is changed in place by a function, a method, or anything that gets `out`."""
    out: Any = node.kwargs.get("out")
    if isinstance(out, fx.Node):
        return out
    if node.op not in ("call_method", "call_function"):
        return None
    first, name = next(iter(node.args), None), str(getattr(node.target, "__name__", node.target))
    named = name.endswith("_") and not name.endswith("__")
    changes = named or node.target in _IN_PLACE or node.kwargs.get("inplace") is True
    return first if changes and isinstance(first, fx.Node) else None


def _writes_to_input(module: nn.Module, known: _Known) -> bool:
    """Whether a module that is a single node may change its input; assumed if it cannot be traced."""
    if type(module).__module__.startswith("torch.nn.modules.") and not isinstance(module, nn.Sequential):
        return getattr(module, "inplace", False) is True
    kind = _kind(module)
    if kind not in known:
        known[kind] = _is_seen_to_write(module, known)
    return known[kind]


def _kind(module: nn.Module) -> tuple[object, ...]:
    """The classes and settings of a module and its parts: modules that agree in these differ only in their weights."""
    return tuple((name, type(part), *_settings(part)) for name, part in module.named_modules())


def _settings(module: nn.Module) -> tuple[object, ...]:
    own = [(name, value) for name, value in vars(module).items() if name not in _OF_EVERY_MODULE]
    # Values that are not plain are compared by identity.
    return tuple((name, value if isinstance(value, bool | int | float | str) else id(value)) for name, value in own)


def _is_seen_to_write(module: nn.Module, known: _Known) -> bool:
    try:
        with dry_run(module):  # attributes may be caches, in which symbols must not remain
            graph = trace(module, whole=True).graph  # at once: tracing each of its modules would take seconds
    except Exception:  # noqa: BLE001 -- a forward that is run on symbols may raise anything
        return True
    changes, origins = _of_functions(graph, module)
    if any(origins[target].op == "placeholder" for target in changes.values()):
        return True
    modules = [called for _, first, called in _modules(graph, module, changes) if origins[first].op == "placeholder"]
    return any(_writes_to_input(called, known) for called in modules)
