"""The order in which the parts of an arbitrary net run."""

from collections.abc import Callable, Iterator
from typing import Any

from torch import fx, nn

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def ordered_units(net: nn.Module, is_known: Callable[[nn.Module], bool]) -> list[str]:
    """The units of a net, by name, in the order in which they first run.

    A unit is a child with parameters. Plain containers (`nn.Sequential`, `nn.ModuleList`, `nn.ModuleDict`) are replaced
    by their children, and a net that only wraps another one by the children of that one. The order is that of an FX
    trace in which the units are opaque, so only `forward` of the net itself must be traceable. If it branches on
    its input, the order is that of registration.

    Args:
        net: Any module.
        is_known: Whether a module counts as one unit, whatever it holds.
    """
    path = wrapped_path(net, is_known)
    root = net.get_submodule(path)
    if is_known(root):
        return [path]
    units = list(_expand(root, "", is_known))
    calls = _first_calls(root, frozenset(units))
    position, last = {}, -1
    for unit in units:  # a unit that is not in the trace stays behind the one registered before it
        last = position[unit] = calls.get(unit, last)
    return [f"{path}.{unit}".removeprefix(".") for unit in sorted(units, key=position.__getitem__)]


def wrapped_path(net: nn.Module, is_known: Callable[[nn.Module], bool]) -> str:
    """The path of the net inside modules that only wrap it, such as DDP or a LightningModule; `""` if none does."""
    path, root = "", net
    while not is_known(root) and (only := _only_child(root)):
        path, root = f"{path}.{only}".removeprefix("."), root.get_submodule(only)
    return path


def _first_calls(net: nn.Module, units: frozenset[str]) -> dict[str, int]:
    """Unit -> the position of its first call; empty for a net that cannot be traced."""
    tracer: Any = fx.Tracer()
    opaque = tracer.is_leaf_module
    tracer.is_leaf_module = lambda module, name: name in units or opaque(module, name)
    try:
        graph = tracer.trace(net)
    except Exception:  # noqa: BLE001 -- tracing runs the user's forward on proxies, which may raise anything
        return {}
    calls: dict[str, int] = {}
    for index, node in enumerate(graph.nodes):
        if node.op == "call_module" and node.target in units:
            calls.setdefault(str(node.target), index)
    return calls


def _expand(module: nn.Module, prefix: str, is_known: Callable[[nn.Module], bool]) -> Iterator[str]:
    for name, child in module.named_children():
        if type(child) in _CONTAINERS and not is_known(child):  # a subclass is a block with a forward of its own
            yield from _expand(child, f"{prefix}{name}.", is_known)
        elif _has_parameters(child):
            yield prefix + name


def _only_child(module: nn.Module) -> str | None:
    """The name of the child that holds all parameters, if it consists of parts itself."""
    bearing = [(name, child) for name, child in module.named_children() if _has_parameters(child)]
    if len(bearing) != 1 or next(module.parameters(recurse=False), None) is not None:
        return None
    name, child = bearing[0]
    return name if any(_has_parameters(part) for part in child.children()) else None


def _has_parameters(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None
