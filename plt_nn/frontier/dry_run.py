"""Runs a net without a trace, to see whether what is to be done in its place gives the same."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from plt_nn.frontier.module_attributes import Slot, attributes_restored
from plt_nn.frontier.random_state import generators_restored

_WIDE = (torch.float32, torch.float64)


@contextmanager
def dry_run(module: nn.Module) -> Iterator[tuple[Callable[[], bool], list[Slot]]]:
    """Puts random numbers, buffers and attributes back as they were at the beginning.

    Args:
        module: What is run.

    Yields:
        What tells whether random numbers have been drawn since the beginning, and a list into which, at the end, the
        attributes come that were set.
    """
    buffers = [(buffer, buffer.clone()) for buffer in module.buffers()]
    with generators_restored() as has_drawn, attributes_restored(module) as attributes:
        try:
            yield has_drawn, attributes
        finally:
            with torch.no_grad():
                for buffer, value in buffers:
                    if not torch.equal(buffer, value):
                        buffer.copy_(value)


@dataclass(frozen=True)
class Outcome:
    """What a forward pass has given, without its graph.

    Args:
        leaves: The tensors, and what else there is, in their order.
        needs: Which of them get gradients.
    """

    leaves: tuple[Any, ...]
    needs: tuple[bool, ...]

    @classmethod
    def of(cls, output: object) -> "Outcome":
        """That of an output of any kind."""
        leaves = tree_leaves(output)
        tensors = (leaf.detach() if isinstance(leaf, Tensor) else leaf for leaf in leaves)
        return cls(tuple(tensors), tuple(isinstance(leaf, Tensor) and leaf.requires_grad for leaf in leaves))

    def agrees(self, other: "Outcome") -> bool:
        """Whether another one is the same, up to rounding: some nets do not always agree with themselves."""
        pairs = zip(self.leaves, other.leaves, strict=False)
        return len(self.leaves) == len(other.leaves) and self.needs == other.needs and all(_agree(*p) for p in pairs)


def _agree(one: Any, other: Any) -> bool:
    if not isinstance(one, Tensor) or not isinstance(other, Tensor):
        return type(one) is type(other)
    if (one.shape, one.dtype, one.device) != (other.shape, other.dtype, other.device):
        return False
    if torch.equal(one, other) or one.numel() == 0:
        return True
    if not one.is_floating_point():
        return False
    tolerance = 1e-4 if one.dtype in _WIDE else 2e-2
    largest = float(one.abs().max().nan_to_num())
    return torch.allclose(one, other, rtol=tolerance, atol=tolerance * largest, equal_nan=True)
