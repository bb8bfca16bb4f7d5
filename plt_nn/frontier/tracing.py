"""Traces a net into a graph in which a module that is wholly frozen or wholly trained is a single node."""

import inspect
import operator
import sys
from collections.abc import Callable, Set
from contextlib import ExitStack, nullcontext
from threading import RLock, get_ident
from types import TracebackType
from typing import Any, NamedTuple, Self

import torch
from torch import fx, nn
from torch.amp.autocast_mode import autocast
from torch.autograd.graph import saved_tensors_hooks

from plt_nn.frontier.module_attributes import Slot, attributes_read
from plt_nn.frontier.nondeterminism import has_hooks, is_active

WITHOUT_GRADIENTS = "without gradients"  # in the `meta` of a node that runs where gradients are handled differently
_OPERATORS = ("iadd", "isub", "imul", "itruediv", "ifloordiv", "imod", "ipow", "imatmul", "iand", "ior", "ixor")
_lock = RLock()  # torch.fx replaces methods of every module in the process while it traces, and so do we


class Traced(NamedTuple):
    """The result of a trace.

    Args:
        graph: The graph.
        looked_into: The modules that were traced into, and so are no nodes: the net is the first.
        read: The attributes of modules that were read; not noted by a whole trace.
    """

    graph: fx.Graph
    looked_into: list[nn.Module]
    read: Set[Slot]


def trace(net: nn.Module, whole: bool = False, are_buffers_fixed: bool = False) -> Traced:
    """The graph of a net's forward pass in its present mode and state of freezing.

    Nodes are functions, methods, and modules that are wholly frozen and still, wholly trained, of torch itself, or
    cannot be traced into. Arguments of `forward` with a default have this value. Nodes that ran without gradients, or
    under checkpointing, are marked, because a graph does not repeat that. One thread traces at a time; other threads
    may run any net meanwhile.

    Args:
        net: Any module.
        whole: Whether to trace into modules that are wholly frozen or trained as well.
        are_buffers_fixed: Whether values computed from buffers alone are constants: code may then ask for them, but
            does not see later changes.

    Raises:
        Exception: Whatever the net's `forward` raises when it is run on symbols.
    """
    functions, modules = _opaque()
    # The class's: an instance may have a forward that replaces it and takes any arguments.
    _, *parameters = inspect.signature(type(net).forward).parameters.values()
    taken = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    defaults = {p.name: p.default for p in taken if p.default is not p.empty}
    noting = nullcontext(set[Slot]()) if whole else attributes_read()  # noting is slow
    with _lock, Contexts() as contexts, noting as read:
        tracer = _FreezingTracer(functions, modules, whole, contexts)
        tracer.proxy_buffer_attributes = not are_buffers_fixed
        graph = tracer.trace(net, concrete_args=defaults or None)
    for node in list(graph.nodes):  # placeholders of the defaults
        if node.op == "placeholder" and not node.users and node.name not in {p.name for p in taken}:
            graph.erase_node(node)
    return Traced(graph, [net, *tracer.looked_into], read)


def in_place(value: Any, other: Any, name: str) -> Any:
    """The value after an in-place operator: the same tensor, or another number.

    Args:
        value: The left operand, which is changed.
        other: The right operand.
        name: The operator's name in the module `operator`, such as `iadd`.
    """
    return getattr(operator, name)(value, other)


class Symbol(fx.Proxy):
    """A value in a trace that records in-place operators; torch.fx would trace `x += 1` as `x = x + 1`."""


def _record(name: str) -> Any:
    def record(self: Symbol, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", in_place, (self, other, name), {})

    return record


for _name in _OPERATORS:
    setattr(Symbol, f"__{_name}__", _record(_name))


class Contexts:
    """Counts the contexts of `torch.autocast` and of checkpointing that this thread has entered.

    Only one thread may use it at a time, because it replaces methods of torch's classes; others are not affected.

    Attributes:
        autocast: How many autocast contexts are open, whatever they switch on or off.
        saved: How many contexts are open that save tensors for the backward pass in another way.
    """

    def __init__(self) -> None:
        self.autocast = self.saved = 0
        self._mode, self._thread = torch.is_grad_enabled(), get_ident()
        self._patches = ExitStack()

    def changes_gradients(self) -> bool:
        """Whether gradients are switched on or off here, or tensors for them are saved in another way."""
        return self.saved > 0 or torch.is_grad_enabled() != self._mode

    def __enter__(self) -> Self:
        for kind, name in ((autocast, "autocast"), (saved_tensors_hooks, "saved")):
            for method, change in (("__enter__", 1), ("__exit__", -1)):
                own = getattr(kind, method)
                setattr(kind, method, self._counted(own, name, change))
                self._patches.callback(setattr, kind, method, own)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._patches.close()

    def _counted(self, own: Any, name: str, change: int) -> Any:
        def counted(this: Any, *args: Any) -> Any:
            if get_ident() == self._thread:
                setattr(self, name, getattr(self, name) + change)
            return own(this, *args)

        return counted


class _FreezingTracer(fx.Tracer):
    """Traces only into modules of which a part is frozen and a part is not."""

    def __init__(
        self,
        functions: tuple[Callable[..., Any], ...],
        modules: tuple[type[nn.Module], ...],
        whole: bool,
        contexts: Contexts,
    ) -> None:
        super().__init__(autowrap_functions=functions)
        self._opaque, self._whole, self._contexts, self._thread = modules, whole, contexts, get_ident()
        self.looked_into: dict[nn.Module, None] = {}

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        """A node, marked if it runs in a context that the graph does not contain.

        Raises:
            RuntimeError: If it runs under autocast of its own, which changes what it computes.
        """
        if self._contexts.autocast:
            raise RuntimeError("its forward pass enters torch.autocast")
        node = super().create_node(*args, **kwargs)
        if self._contexts.changes_gradients():
            node.meta[WITHOUT_GRADIENTS] = True
        return node

    def proxy(self, node: fx.Node) -> Symbol:
        """The symbol of a node's value."""
        return Symbol(node, self)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether a module becomes a single node."""
        if has_hooks(m) or isinstance(m, self._opaque) or super().is_leaf_module(m, module_qualified_name):
            return True
        if self._whole:
            return False
        needs = {parameter.requires_grad for parameter in m.parameters()}
        return needs == {True} if True in needs else not is_active(m)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """An attribute of a module as a symbol; as it is where another thread reads it."""
        return super().getattr(attr, attr_val, parameter_proxy_cache) if get_ident() == self._thread else attr_val

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Traces into a module, and takes it as a single node if that fails; runs it if another thread calls it."""
        if get_ident() != self._thread:
            return forward(*args, **kwargs)
        last, stack = next(iter(reversed(self.graph.nodes)), None), self.module_stack.copy()
        path, before = self.path_of_module(m), self.looked_into.copy()
        if self.is_leaf_module(m, path):
            return self.create_proxy("call_module", path, args, kwargs)
        self.looked_into[m] = None
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception:  # a forward pass that is run on symbols may raise anything
            self.module_stack, self.looked_into = stack, before
            for node in reversed(self.graph.nodes):  # its nodes until then must not run twice
                if node is last:
                    break
                self.graph.erase_node(node)
            if not any(True for _ in m.parameters()) and not any(True for _ in m.buffers()):
                raise
            return self.create_proxy("call_module", path, args, kwargs)


def _opaque() -> tuple[tuple[Callable[..., Any], ...], tuple[type[nn.Module], ...]]:
    """The functions and modules that timm lists as not traceable, if timm is imported."""
    if "timm" not in sys.modules:
        return (), ()
    import timm.models

    untyped: Any = timm.models
    return tuple(untyped.get_notrace_functions()), tuple(untyped.get_notrace_modules())
