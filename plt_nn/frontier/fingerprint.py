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
    """A digest of what a prefix computes: its graph, its modules with their settings and code, and its weights.

    Two prefixes of one fingerprint give the same output for the same input on the same kind of machine. It is None
    where something in the prefix cannot be told from other things of its kind. Weights are read once: a second for a
    few gigabytes.

    Args:
        frontier: The net in two.
    """
    nodes = list(frontier.prefix.graph.nodes)
    graph = [(node.op, node.name, node.target, node.args, node.kwargs) for node in nodes]
    modules = dict(frontier.prefix.named_modules(remove_duplicate=False))  # one that is there twice runs twice
    del modules[""]  # which is the graph
    settings = [(name, _settings(module)) for name, module in modules.items()]
    known = _elsewhere(modules, frontier.tensors) | {id(node): f"node {node.name}" for node in nodes}
    computed = object_identity((graph, settings), known)
    if computed is None:
        return None
    formed = [name for name, tensor in frontier.tensors.items() if is_channels_last(tensor)]  # which round otherwise
    text = json.dumps([computed, digests(frontier.tensors), formed])
    return hashlib.sha256(text.encode()).hexdigest()


def is_channels_last(tensor: Tensor) -> bool:
    """Whether a tensor lies in the memory format `channels_last`, and not in the usual one as well."""
    is_last = tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    return is_last and not tensor.is_contiguous()


def _settings(module: nn.Module) -> list[Any]:
    """The class of a module, its attributes, and which weights and modules it calls what.

    Nothing in a prefix has hooks or is in training mode in a way that matters.
    """
    own = {name: value for name, value in sorted(vars(module).items()) if name not in _OF_EVERY_MODULE}
    net = _net_of(module)
    if net is not None:  # whose own forward pass, which does not run in a step, may be taken over for a while
        inner = {name: value for name, value in sorted(vars(net).items()) if name not in (*_OF_EVERY_MODULE, "forward")}
        own = {"method": own["_method"], "class": type(net), "net": inner}
    return [type(module), own, module._parameters, module._buffers, module._modules]


def _net_of(module: nn.Module) -> nn.Module | None:
    """The net of which a module is a step."""
    net = getattr(vars(module).get("_method"), "__self__", None) if isinstance(module, Step) else None
    return net if isinstance(net, nn.Module) else None


def _elsewhere(modules: dict[str, nn.Module], tensors: dict[str, Tensor]) -> dict[int, str]:
    """Texts for what has a place of its own in the fingerprint, and for what takes no part."""
    steps = [module for module in modules.values() if isinstance(module, Step)]
    outside = {id(part): "trained" for step in steps for part in step.forbidden}
    nets = {id(_net_of(step)): "the net" for step in steps if _net_of(step) is not None}
    own = {id(module): f"module {name}" for name, module in reversed(modules.items())}
    return outside | nets | own | {id(tensor): f"tensor {name}" for name, tensor in tensors.items()}
