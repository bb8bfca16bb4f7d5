"""Identifies what a frozen prefix computes, to use its features again in later runs."""

import hashlib
import json
from typing import Any

import torch
from torch import Tensor, nn

from plt_nn.fingerprint.digest import digests
from plt_nn.fingerprint.identity import object_identity
from plt_nn.frontier.cut import Frontier
from plt_nn.frontier.features_and_head import Step

_OF_EVERY_MODULE = frozenset(vars(nn.Module()))


def frontier_fingerprint(frontier: Frontier) -> str | None:
    """A digest of a prefix's graph, its modules with their settings and code, and its weights.

    Two prefixes with the same fingerprint give the same output for the same input on the same kind of machine. Weights
    are read once: a second for a few gigabytes.

    Returns:
        The digest; None if something in the prefix cannot be identified.
    """
    nodes = list(frontier.prefix.graph.nodes)
    graph = [(node.op, node.name, node.target, node.args, node.kwargs) for node in nodes]
    modules = dict(frontier.prefix.named_modules(remove_duplicate=False))  # a module that occurs twice runs twice
    del modules[""]  # the graph module itself
    settings = [(name, _settings(module)) for name, module in modules.items()]
    known = _elsewhere(modules, frontier.tensors) | {id(node): f"node {node.name}" for node in nodes}
    computed = object_identity((graph, settings), known)
    if computed is None:
        return None
    formed = [name for name, tensor in frontier.tensors.items() if is_channels_last(tensor)]  # which rounds differently
    text = json.dumps([computed, digests(frontier.tensors), formed])
    return hashlib.sha256(text.encode()).hexdigest()


def is_channels_last(tensor: Tensor) -> bool:
    """Whether a tensor has the memory format `channels_last`, and not also the usual one."""
    is_last = tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    return is_last and not tensor.is_contiguous()


def _settings(module: nn.Module) -> list[Any]:
    """The class of a module, its attributes, and the names of its weights and modules.

    Hooks and modes are left out: a prefix has no hooks, and no modules whose mode matters.
    """
    own = {name: value for name, value in sorted(vars(module).items()) if name not in _OF_EVERY_MODULE}
    net = _net_of(module)
    if net is not None:  # whose forward pass does not run in a step, and may be replaced
        inner = {name: value for name, value in sorted(vars(net).items()) if name not in (*_OF_EVERY_MODULE, "forward")}
        own = {"method": own["_method"], "class": type(net), "net": inner}
    return [type(module), own, module._parameters, module._buffers, module._modules]


def _net_of(module: nn.Module) -> nn.Module | None:
    """The net of which a module is a step; None for other modules."""
    net = getattr(vars(module).get("_method"), "__self__", None) if isinstance(module, Step) else None
    return net if isinstance(net, nn.Module) else None


def _elsewhere(modules: dict[str, nn.Module], tensors: dict[str, Tensor]) -> dict[int, str]:
    """Texts for objects that the fingerprint covers elsewhere, or that do not matter."""
    steps = [module for module in modules.values() if isinstance(module, Step)]
    outside = {id(part): "trained" for step in steps for part in step.forbidden}
    nets = {id(_net_of(step)): "the net" for step in steps if _net_of(step) is not None}
    own = {id(module): f"module {name}" for name, module in reversed(modules.items())}
    return outside | nets | own | {id(tensor): f"tensor {name}" for name, tensor in tensors.items()}
