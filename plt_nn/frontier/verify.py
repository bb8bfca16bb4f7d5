"""Verifies on the first batch that the two parts of a net, one after the other, give what the net gives."""

import time
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from plt_nn.errors import NotCuttable
from plt_nn.frontier.cut import Crossing, Frontier
from plt_nn.frontier.dry_run import dry_run
from plt_nn.frontier.module_attributes import Slot

_FEW = 2  # samples; norms in training need more than one
_WIDE = (torch.float32, torch.float64)


class VerifiedBatch(NamedTuple):
    """The result of verifying a first batch.

    Args:
        crossing: The values that cross the frontier.
        seconds: How long it took to compute them.
        set_by_net: Attributes that modules of the net set themselves when they run.
    """

    crossing: Crossing
    seconds: float
    set_by_net: frozenset[Slot]


def verify_first_batch(module: nn.Module, frontier: Frontier, inputs: Tensor) -> VerifiedBatch:
    """Runs the first batch through the frozen part, and compares both parts with the net.

    It has no side effects: random numbers, buffers and attributes are restored.

    Raises:
        NotCuttable: If features would change what the net gives.
        Exception: Whatever the net raises.
    """
    with dry_run(module) as effects:
        began = device_time(inputs.device)
        crossing = frontier.before(inputs.clone())  # a net may write to its inputs
        seconds = device_time(inputs.device) - began
        if effects.has_drawn():
            raise NotCuttable("the frozen part draws random numbers")
        _require_independent_samples(frontier, crossing, inputs)
    set_by_net = frozenset(effects.attributes)
    # Norms that synchronise their statistics would wait for a process that takes another path.
    if not any(isinstance(part, nn.SyncBatchNorm) for part in module.modules()):
        set_by_net |= _compare(module, frontier, inputs, crossing)
    return VerifiedBatch(crossing, seconds, set_by_net)


def device_time(device: torch.device) -> float:
    """A time in seconds, read when a device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _compare(module: nn.Module, frontier: Frontier, inputs: Tensor, crossing: Crossing) -> frozenset[Slot]:
    """Compares the suffix with the net on a few samples; returns the attributes that the net sets.

    Raises:
        NotCuttable: If they differ.
    """
    for some in (inputs[:_FEW], inputs):
        rows = tuple(row[: len(some)] for row in crossing.rows)
        try:
            with dry_run(module):
                found = _outcome(frontier.after(Crossing(rows, crossing.layout)))
            with dry_run(module) as effects:
                expected = _outcome(type(module).forward(module, some.clone()))  # never the compiled forward pass
            break
        except Exception:  # a net may need all samples of a batch
            if len(some) == len(inputs):
                raise
    if len(found) != len(expected) or not all(map(_agree, found, expected)):
        raise NotCuttable("the frozen part and the rest, one after the other, do not give what the net gives")
    return frozenset(effects.attributes)


def _outcome(output: object) -> list[tuple[Any, bool]]:
    """The leaves of an output, detached, and whether each gets gradients."""
    leaves = tree_leaves(output)
    return [(leaf.detach(), leaf.requires_grad) if isinstance(leaf, Tensor) else (leaf, False) for leaf in leaves]


def _agree(found: tuple[Any, bool], expected: tuple[Any, bool]) -> bool:
    """Whether two leaves are equal up to rounding: some nets differ from themselves from call to call."""
    (one, needs), (other, other_needs) = found, expected
    if not isinstance(one, Tensor) or not isinstance(other, Tensor):
        return type(one) is type(other)
    if (one.shape, one.dtype, one.device, needs) != (other.shape, other.dtype, other.device, other_needs):
        return False
    if torch.equal(one, other) or one.numel() == 0:
        return True
    return one.is_floating_point() and _is_close(one, other, 1e-4 if one.dtype in _WIDE else 2e-2)


def _is_close(one: Tensor, other: Tensor, tolerance: float) -> bool:
    """Whether two tensors differ by less than a part of their values, or of the largest one."""
    largest = float(one.abs().max().nan_to_num())
    return torch.allclose(one, other, rtol=tolerance, atol=tolerance * largest, equal_nan=True)


def _require_independent_samples(frontier: Frontier, crossing: Crossing, inputs: Tensor) -> None:
    """Checks that a sample's features do not depend on its batch.

    Raises:
        NotCuttable: If they do.
    """
    alone = frontier.before(inputs[-1:].clone())
    if alone.layout != crossing.layout:
        raise NotCuttable("what crosses depends on the number of samples")
    for row, one in zip(crossing.rows, alone.rows, strict=True):
        tolerance = 1e-3 if row.dtype in _WIDE else 5e-2
        largest = float(row.float().abs().max())
        if not torch.allclose(row[-1:].float(), one.float(), rtol=tolerance, atol=tolerance * largest):
            raise NotCuttable("the frozen part mixes the samples of a batch")
