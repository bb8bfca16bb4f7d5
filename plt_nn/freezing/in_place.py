"""Which nodes of a graph change a value in place, and which values lie in one memory. Pure."""

import operator
from typing import Any

from torch import fx, nn

from plt_nn.freezing.attributes import attributes_restored
from plt_nn.freezing.tracing import trace
from plt_nn.generators import generators_restored

_IN_PLACE = frozenset(
    (operator.setitem, operator.iadd, operator.isub, operator.imul, operator.itruediv, operator.ifloordiv)
    + (operator.imod, operator.ipow, operator.imatmul, operator.iand, operator.ior, operator.ixor)
)
# Functions and methods whose result may lie in the same memory as their first argument.
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


def changes_in_place(graph: fx.Graph, module: nn.Module, known: _Known | None = None) -> dict[fx.Node, fx.Node]:
    """The nodes that change a value in place, or may do so, and the node whose value it is.

    Args:
        graph: A graph of `trace`.
        module: What was traced.
        known: What has been found out about modules of some kinds; is added to.
    """
    known = {} if known is None else known
    found = ((node, _changed_by(node, module, known)) for node in graph.nodes)
    return {node: target for node, target in found if target is not None}


def memory_origins(graph: fx.Graph, module: nn.Module, changes: dict[fx.Node, fx.Node]) -> dict[fx.Node, fx.Node]:
    """For each node the first one in whose memory its value may lie.

    Args:
        graph: A graph of `trace`.
        module: What was traced.
        changes: What `changes_in_place` gives.
    """
    origins: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        first = node.args[0] if node.args and _is_view(node, module) else None
        if node.op != "call_module" and node in changes:  # a function that changes a value gives it back
            first = changes[node]
        origins[node] = origins[first] if isinstance(first, fx.Node) else node
    return origins


def _is_view(node: fx.Node, module: nn.Module) -> bool:
    if node.op == "call_module":  # such as an activation, dropout that is off, or an empty sequence
        return not any(True for _ in module.get_submodule(str(node.target)).parameters())
    return node.op in ("call_method", "call_function") and getattr(node.target, "__name__", node.target) in _VIEWS


def _changed_by(node: fx.Node, module: nn.Module, known: _Known) -> fx.Node | None:
    """The node whose value a node changes in place, if it changes one."""
    if node.op not in ("call_module", "call_method", "call_function"):
        return None
    out: Any = node.kwargs.get("out")
    if isinstance(out, fx.Node):
        return out
    first = next(iter(node.all_input_nodes), None) if node.op == "call_module" else next(iter(node.args), None)
    if not isinstance(first, fx.Node):
        return None
    if node.op == "call_module":
        in_place = _writes_to_input(module.get_submodule(str(node.target)), known)
    else:
        name = str(getattr(node.target, "__name__", node.target))
        named = name.endswith("_") and not name.endswith("__")
        in_place = named or node.target in _IN_PLACE or node.kwargs.get("inplace") is True
    return first if in_place else None


def _writes_to_input(module: nn.Module, known: _Known) -> bool:
    """Whether a module that is a single node may change its input; so it may if it cannot be looked into."""
    if type(module).__module__.startswith("torch.nn.modules.") and not isinstance(module, nn.Sequential):
        return getattr(module, "inplace", False) is True
    kind = _kind(module)
    if kind not in known:
        known[kind] = _is_seen_to_write(module, known)
    return known[kind]


def _kind(module: nn.Module) -> tuple[object, ...]:
    """Modules of one kind do the same but for their weights: same classes, same settings."""
    return tuple((name, type(part), *_settings(part)) for name, part in module.named_modules())


def _settings(module: nn.Module) -> tuple[object, ...]:
    own = [(name, value) for name, value in vars(module).items() if name not in _OF_EVERY_MODULE]
    # Of what is no plain value two are the same only if they are one.
    return tuple((name, value if isinstance(value, bool | int | float | str) else id(value)) for name, value in own)


def _is_seen_to_write(module: nn.Module, known: _Known) -> bool:
    try:
        with attributes_restored(module), generators_restored():  # attributes may be caches that symbols come into
            graph = trace(module, whole=True).graph  # at once: a trace of each of its modules would take seconds
    except Exception:  # noqa: BLE001 -- a forward that is run on symbols may raise anything
        return True
    changes = changes_in_place(graph, module, known)
    origins = memory_origins(graph, module, changes)
    return any(origins[target].op == "placeholder" for target in changes.values())
