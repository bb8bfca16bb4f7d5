"""The first batch of which features are kept: it sees whether a net in two parts is the net."""

import time
from typing import NamedTuple

import torch
from torch import Tensor, nn

from plt_nn.errors import NotCuttable
from plt_nn.frontier.cut import Crossing, Frontier
from plt_nn.frontier.dry_run import Outcome, dry_run
from plt_nn.frontier.module_attributes import Slot

_FEW = 2  # samples; norms in training need more than one


class VerifiedBatch(NamedTuple):
    """What was seen of the first batch.

    Args:
        crossing: What crosses the frontier.
        seconds: How long that took.
        notes: Attributes that modules of the net set themselves when they are run.
    """

    crossing: Crossing
    seconds: float
    notes: frozenset[Slot]


def verify_first_batch(module: nn.Module, frontier: Frontier, inputs: Tensor) -> VerifiedBatch:
    """Runs the first batch through the frozen part, and through all there is to compare it with.

    Nothing is left of what is run besides: random numbers, buffers and attributes are as they were.

    Args:
        module: The net.
        frontier: The same in two parts.
        inputs: The batch's inputs.

    Raises:
        NotCuttable: If features would change what the net gives.
        Exception: Whatever the net raises.
    """
    with dry_run(module) as (has_drawn, notes):
        began = device_time(inputs.device)
        crossing = frontier.before(inputs.clone())  # a net may write to its inputs
        seconds = device_time(inputs.device) - began
        if has_drawn():
            raise NotCuttable("the frozen part draws random numbers")
        _require_apart(frontier, crossing, inputs)
    # Processes whose batch norms talk to each other would wait for one that has gone another way.
    if not any(isinstance(part, nn.SyncBatchNorm) for part in module.modules()):
        notes = [*notes, *_compared(module, frontier, inputs, crossing)]
    return VerifiedBatch(crossing, seconds, frozenset(notes))


def _compared(module: nn.Module, frontier: Frontier, inputs: Tensor, crossing: Crossing) -> list[Slot]:
    """Runs a few samples through the net, and on from what has crossed; the attributes that the net sets.

    Raises:
        NotCuttable: If they do not come to the same.
    """
    for some in (inputs[:_FEW], inputs):
        rows = tuple(row[: len(some)] for row in crossing.rows)
        try:
            with dry_run(module):
                found = Outcome.of(frontier.after(Crossing(rows, crossing.layout)))
            with dry_run(module) as (_, notes):
                own = Outcome.of(type(module).forward(module, some.clone()))  # as it is, even where it is compiled
            break
        except Exception:  # a net may need all samples of a batch
            if len(some) == len(inputs):
                raise
    if not found.agrees(own):
        raise NotCuttable("the frozen part and the rest, one after the other, do not give what the net gives")
    return notes


def device_time(device: torch.device) -> float:
    """A time in seconds, when all that a device was told to do is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _require_apart(frontier: Frontier, crossing: Crossing, inputs: Tensor) -> None:
    """Makes sure that a sample's features do not depend on the batch that it is in.

    Raises:
        NotCuttable: If they do.
    """
    alone = frontier.before(inputs[-1:].clone())
    if alone.layout != crossing.layout:
        raise NotCuttable("what crosses depends on the number of samples")
    for row, one in zip(crossing.rows, alone.rows, strict=True):
        tolerance = 1e-3 if row.dtype in (torch.float32, torch.float64) else 5e-2
        largest = float(row.float().abs().max())
        if not torch.allclose(row[-1:].float(), one.float(), rtol=tolerance, atol=tolerance * largest):
            raise NotCuttable("the frozen part mixes the samples of a batch")
