"""Tells whether two frozen prefixes compute the same."""

import hashlib
import json
from typing import Any

from torch import nn

from plt_nn.freezing.digest import digests
from plt_nn.freezing.frontier import Frontier

_PLAIN = (bool, int, float, str, type(None))


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
    text = json.dumps([graph, modules, digests(frontier.tensors)])
    return hashlib.sha256(text.encode()).hexdigest()


def _target(target: object) -> str:
    return (
        target
        if isinstance(target, str)
        else f"{getattr(target, '__module__', '')}.{getattr(target, '__name__', target)}"
    )


def _settings(module: nn.Module) -> list[Any]:
    """The class of a module, its plain attributes, and the code of its forward pass."""
    kind = type(module)
    plain = {name: value for name, value in vars(module).items() if name != "training" and _is_plain(value)}
    code = getattr(kind.forward, "__code__", None)
    content = (
        hashlib.sha256(code.co_code + repr(code.co_consts).encode()).hexdigest() if code and not _is_graph(kind) else ""
    )
    return [f"{kind.__module__}.{kind.__qualname__}", sorted(plain.items(), key=str), content]


def _is_plain(value: object) -> bool:
    return isinstance(value, _PLAIN) or (isinstance(value, tuple) and all(isinstance(part, _PLAIN) for part in value))


def _is_graph(kind: type) -> bool:
    return kind.__module__.startswith("torch.fx")
