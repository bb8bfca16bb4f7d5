"""Cuts nets that cannot be traced, but have separate methods for features and head."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, fx, nn

from plt_nn.errors import NotCuttable
from plt_nn.frontier.nondeterminism import is_active


def cut_features_and_head(net: nn.Module) -> "FeaturesAndHead | None":
    """A net whose `forward` calls `forward_features`, then `forward_head`, and nothing else; None for any other net.

    The nets of timm do so (https://huggingface.co/docs/timm/feature_extraction). What is trained must belong to the
    second step, which is checked whenever the first step runs.
    """
    code = getattr(type(net).forward, "__code__", None)
    if code is None or code.co_names != ("forward_features", "forward_head"):
        return None
    later = {name for name, child in net.named_children() if _is_trained(child) or is_active(child)}
    own = any(parameter.requires_grad for parameter in net.parameters(recurse=False))
    return None if own or not later else FeaturesAndHead(net, later)


class FeaturesAndHead(nn.Module):
    """A net as two modules.

    Args:
        net: The net.
        later: Its children that only the second step may use.
    """

    def __init__(self, net: nn.Module, later: set[str]) -> None:
        super().__init__()
        typed: Any = net
        children = dict(net.named_children())
        self.features = Step(typed.forward_features, {n: child for n, child in children.items() if n not in later})
        self.head = Step(typed.forward_head, {name: children[name] for name in later})
        self.features.forbidden = tuple(children[name] for name in later)
        for name, parameter in net.named_parameters(recurse=False):
            self.features.register_parameter(name, parameter)
        for name, buffer in net.named_buffers(recurse=False):
            self.features.register_buffer(name, buffer)
        self.features.training, self.head.training = False, net.training  # not of their parts

    def forward(self, x: Tensor) -> Any:
        """The net's forward pass."""
        return self.head(self.features(x))

    def graph(self) -> fx.Graph:
        """The graph of the two modules."""
        graph = fx.Graph()
        x = graph.placeholder("x")
        graph.output(graph.call_module("head", (graph.call_module("features", (x,)),)))
        return graph


class Step(nn.Module):
    """A method of a net as a module.

    Args:
        method: The method.
        parts: The children of the net that belong to it.
    """

    def __init__(self, method: Callable[[Tensor], Any], parts: dict[str, nn.Module]) -> None:
        super().__init__()
        self._method = method
        self.forbidden: tuple[nn.Module, ...] = ()
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x: Tensor) -> Any:
        """Runs the method.

        Raises:
            NotCuttable: If it uses a forbidden part.
        """
        handles = [part.register_forward_pre_hook(_refuse) for part in self.forbidden]
        try:
            return self._method(x)
        finally:
            for handle in handles:
                handle.remove()


def _is_trained(module: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters())


def _refuse(module: nn.Module, args: Any) -> None:
    raise NotCuttable(f"the features go through a {type(module).__name__} that is trained")
