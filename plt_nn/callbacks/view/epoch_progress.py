"""One epoch so far: its batches, its time and its loss; and what finished epochs say about the remaining time."""

import math
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from plt_nn.callbacks.telemetry.step_time_counts import Clock, Stopwatch


class EpochLoss:
    """Adds up the losses of an epoch's steps on their device."""

    def __init__(self) -> None:
        self._sum: Tensor | None = None
        self._count = 0
        self._copy: tuple[Tensor, Any] | None = None  # which may still be on its way from the GPU, and its arrival
        self._latest: float | None = None

    def add(self, outputs: Any) -> None:
        """Adds what a training step has returned, if it contains a loss."""
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if isinstance(loss, Tensor) and loss.numel() == 1:
            loss = loss.detach() if loss.requires_grad else loss  # each call counts in a small net's step
            self._sum = loss.float() if self._sum is None else self._sum + loss
            self._count += 1

    def mean(self) -> float | None:
        """The mean of all losses; waits for the device."""
        return None if self._sum is None else float(self._sum / self._count)

    def latest(self) -> float | None:
        """The mean as far as it is known without waiting: on a GPU, that of this call or of an earlier one."""
        if self._sum is None or self._sum.device.type != "cuda":
            return self.mean()
        if self._copy is not None and self._copy[1].query():
            self._latest, self._copy = float(self._copy[0]), None
        if self._copy is None:
            arrival = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._copy = ((self._sum / self._count).to("cpu", non_blocking=True), arrival)  # into pinned memory
            arrival.record(torch.cuda.current_stream(self._sum.device))
        return self._latest


_RECENT_EPOCHS = 3  # whose pace predicts the remaining time
_RECENT_CALLS = 30  # over which the present speed is averaged


class EpochProgress:
    """Counts the batches and samples of an epoch, and its time with and without validations (`whole`, `training`).

    Args:
        number: The number of the epoch, from 0.
        clock: Gives the time in seconds.
    """

    def __init__(self, number: int = 0, clock: Clock = time.monotonic) -> None:
        self.number = number
        self.done = 0  # batches, those before the fit was resumed included
        self.batches = self.samples = 0
        self.loss = EpochLoss()
        self.validated: set[str] = set()  # names of validation metrics
        self.whole, self.training = Stopwatch(clock), Stopwatch(clock)
        self.whole.start()
        self.training.start()
        self._calls: deque[tuple[float, int]] = deque([(0.0, 0)], maxlen=_RECENT_CALLS)

    def add(self, samples: int, outputs: Any, batch_idx: int) -> None:
        """Counts a batch of so many samples, and the loss that its training step has returned."""
        self.done = batch_idx + 1
        self.batches += 1
        self.samples += samples
        self.loss.add(outputs)

    def end(self) -> None:
        """The epoch has ended."""
        self.whole.stop()
        self.training.stop()

    @property
    def has_ended(self) -> bool:
        """Whether the epoch has ended."""
        return not self.whole.is_running

    def speed(self) -> float | None:
        """Training samples per second: recently, or over the whole epoch if it has ended; None before there are any."""
        now, (since, before) = self.training.seconds, (0.0, 0) if self.has_ended else self._calls[0]
        if self.samples > self._calls[-1][1]:
            self._calls.append((now, self.samples))
        return (self.samples - before) / (now - since) if self.samples > before and now > since else None


class EpochCost(NamedTuple):
    """What an epoch, or its part so far, has taken: the number of its phase, seconds with validation, batches."""

    phase: int | None
    seconds: float
    batches: int


def remaining_seconds(finished: Sequence[EpochCost], present: EpochCost, batches: float) -> float | None:
    """Seconds that so many batches will take at the pace of the present phase; None if nobody knows.

    The pace is that of the phase's last whole epochs. Its first one is left out as soon as there is another: it may
    start workers, compile, or compute what later ones find cached. During the first one it is the pace so far.

    Args:
        finished: The epochs that have ended, in their order.
        present: The present epoch so far.
        batches: Batches that remain.
    """
    of_phase = [cost for cost in finished if cost.phase == present.phase and cost.batches > 0]
    measured = (of_phase[1:] or of_phase)[-_RECENT_EPOCHS:] or [present]
    done = sum(cost.batches for cost in measured)
    return batches * sum(cost.seconds for cost in measured) / done if done and math.isfinite(batches) else None
