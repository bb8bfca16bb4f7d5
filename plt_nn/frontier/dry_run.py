"""Runs or traces a net without side effects, and reports those that it would have had."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from plt_nn.frontier.module_attributes import Slot, attributes_restored
from plt_nn.frontier.random_state import generators_restored


@dataclass(frozen=True)
class SideEffects:
    """What a dry run has changed; everything is restored at its end.

    Args:
        has_drawn: Says, during the run, whether random numbers have been drawn.
        attributes: The attributes of modules that were changed; complete at the end.
        buffers: The names of the buffers that were written to; complete at the end.
    """

    has_drawn: Callable[[], bool]
    attributes: list[Slot]
    buffers: list[str] = field(default_factory=list)


@contextmanager
def dry_run(module: nn.Module) -> Iterator[SideEffects]:
    """Restores generators of random numbers, and the buffers and attributes of a module."""
    before = [(name, buffer, _version(buffer), buffer.clone()) for name, buffer in module.named_buffers()]
    with generators_restored() as has_drawn, attributes_restored(module) as attributes:
        effects = SideEffects(has_drawn, attributes)
        try:
            yield effects
        finally:
            effects.buffers.extend(name for name, buffer, version, _ in before if _version(buffer) != version)
            with torch.no_grad():
                for _, buffer, version, value in before:
                    is_comparable = buffer.layout is torch.strided and not buffer.is_meta
                    if _version(buffer) != version or (is_comparable and not torch.equal(buffer, value)):
                        buffer.copy_(value)


def _version(tensor: Tensor) -> int:
    """Torch's count of writes to a tensor; it counts none of inference tensors."""
    return 0 if tensor.is_inference() else tensor._version
