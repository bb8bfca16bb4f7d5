"""Tells whether two frozen prefixes compute the same."""

import hashlib
import json
from functools import cache, partial
from types import CodeType, FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn

from plt_nn.freezing.digest import digests
from plt_nn.freezing.frontier import Frontier

_OF_EVERY_MODULE = frozenset(vars(nn.Module()))


def frontier_fingerprint(frontier: Frontier) -> str:
    """A digest of what a prefix computes: its graph, its modules with their settings and code, and its weights.

    Two prefixes of one fingerprint give the same output for the same input on the same kind of machine. Weights are
    read once: a second for a few gigabytes.

    Args:
        frontier: The net in two.
    """
    graph = [
        (node.op, node.name, _target(node.target), str(node.args), str(node.kwargs))
        for node in frontier.prefix.graph.nodes
    ]
    modules = [(name, _settings(module)) for name, module in frontier.prefix.named_modules()]
    formed = [name for name, tensor in frontier.tensors.items() if is_channels_last(tensor)]  # which round otherwise
    text = json.dumps([graph, modules, digests(frontier.tensors), *([formed] if formed else [])])
    return hashlib.sha256(text.encode()).hexdigest()


def is_channels_last(tensor: Tensor) -> bool:
    """Whether a tensor lies in the memory format `channels_last`, and not in the usual one as well."""
    is_last = tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    return is_last and not tensor.is_contiguous()


def _target(target: object) -> str:
    return (
        target
        if isinstance(target, str)
        else f"{getattr(target, '__module__', '')}.{getattr(target, '__name__', target)}"
    )


def _settings(module: nn.Module) -> list[Any]:
    """The class of a module, its attributes, and its code."""
    kind = type(module)
    own = {
        name: value for name, value in vars(module).items() if name not in _OF_EVERY_MODULE and name != "forward"
    }  # which may be taken over for a while
    code = "" if _is_graph(kind) else _class_code(kind)  # type: ignore[arg-type]  # mypy's view of a class's hash
    plain = sorted((name, str(_plain(value))) for name, value in own.items())
    return [f"{kind.__module__}.{kind.__qualname__}", plain, code]


def _plain(value: object) -> str | None:
    """A value as text, the same in every process; None for what is looked at elsewhere or cannot be told."""
    if isinstance(value, nn.Module):
        return None
    if isinstance(value, Tensor):  # one that is no buffer
        return str(digests({"": value}))
    if isinstance(value, list | tuple):
        return repr([_plain(part) for part in value])
    if isinstance(value, set | frozenset):
        return repr(sorted(str(_plain(part)) for part in value))
    if isinstance(value, dict):
        return repr([(_plain(key), _plain(part)) for key, part in value.items()])
    if isinstance(value, partial):
        return repr([_plain(value.func), _plain(value.args), _plain(value.keywords)])
    if isinstance(value, FunctionType):
        captured = [cell.cell_contents for cell in value.__closure__ or ()]
        known = [_target(part) if isinstance(part, FunctionType) else _plain(part) for part in captured]
        return repr([_target(value), _code(value.__code__), known, _plain(value.__defaults__)])
    if isinstance(value, MethodType):
        code = _code(value.__func__.__code__) if isinstance(value.__func__, FunctionType) else None
        owner = value.__self__
        return repr([_target(value), code, _settings(owner) if isinstance(owner, nn.Module) else _plain(owner)])
    if isinstance(value, type) or (callable(value) and hasattr(value, "__name__")):
        return _target(value)
    return None if " at 0x" in repr(value) else repr(value)


@cache
def _class_code(kind: type) -> str:
    """A digest of the code of a class, of which torch's own has its version."""
    classes = [base for base in kind.__mro__ if not base.__module__.startswith(("torch.", "builtins"))]
    methods = {f"{base.__qualname__}.{name}": value for base in classes for name, value in vars(base).items()}
    codes = [(name, _code(value.__code__)) for name, value in methods.items() if isinstance(value, FunctionType)]
    return hashlib.sha256(repr(codes).encode()).hexdigest()


def _code(code: CodeType) -> list[Any]:
    """What a function does; without the addresses of functions in it, which are others in each process."""
    constants = [_constant(value) for value in code.co_consts]
    return [code.co_code.hex(), code.co_names, constants]


def _constant(value: object) -> Any:
    if isinstance(value, CodeType):
        return _code(value)
    return sorted(map(repr, value)) if isinstance(value, frozenset) else repr(value)


def _is_graph(kind: type) -> bool:
    return kind.__module__.startswith("torch.fx")
