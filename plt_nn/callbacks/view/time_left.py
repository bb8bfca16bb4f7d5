"""How long a fit will go on, from what its epochs have taken. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

_RECENT = 3  # epochs that are averaged


@dataclass(frozen=True)
class Cost:
    """What an epoch, or the part of it so far, has taken.

    Args:
        phase: Its phase; None without phases.
        seconds: Seconds, with validation.
        batches: Training batches.
    """

    phase: int | None
    seconds: float
    batches: int


def batches_left(
    epoch: int, done: int, an_epoch: float, max_epochs: int, step: int, max_steps: int, accumulated: int
) -> float:
    """Training batches until a limit of epochs or steps is reached; infinite if nobody knows.

    Args:
        epoch: The present epoch, from 0.
        done: Its batches so far.
        an_epoch: Batches in an epoch; infinite if nobody knows.
        max_epochs: Epochs of the fit; -1 for no limit.
        step: Optimizer steps so far.
        max_steps: Optimizer steps of the fit; -1 for no limit.
        accumulated: Batches in an optimizer step.
    """
    by_epochs = math.inf
    if max_epochs >= 0:  # an epoch that is not to be has no batches, however many one would have
        by_epochs = (max_epochs - epoch) * an_epoch - done if epoch < max_epochs else 0.0
    by_steps = (max_steps - step) * accumulated if max_steps >= 0 else math.inf
    return max(0.0, min(by_epochs, by_steps))


def seconds_left(finished: Sequence[Cost], present: Cost, left: float) -> float | None:
    """Seconds until so many batches are done, at the pace of the present phase; None if nobody knows.

    The pace is that of the phase's last whole epochs. Its first one is left out as soon as there is another: it may
    start workers, compile, or compute what later ones find done. In the first one it is the pace so far.

    Args:
        finished: The epochs that are over, in their order.
        present: The present epoch so far.
        left: Batches that are left.
    """
    if not math.isfinite(left):
        return None
    of_phase = [cost for cost in finished if cost.phase == present.phase and cost.batches > 0]
    measured = (of_phase[1:] or of_phase)[-_RECENT:] or [present]
    batches = sum(cost.batches for cost in measured)
    return left * sum(cost.seconds for cost in measured) / batches if batches else None
