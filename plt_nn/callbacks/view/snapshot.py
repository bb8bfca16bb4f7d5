"""What is to be told of a fit at a moment, and of an epoch that is over; and how numbers are written. Pure."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class BestSoFar:
    """The best so far, and how long training goes on without a better one.

    Args:
        monitor: The metric.
        best: Its best value.
        epoch: The epoch in which it was reached, from 0; None if that is not known.
        left: How many more units may pass without improvement; None without early stopping.
        patience: How many may pass in all.
        unit: What is counted: `epochs`, `steps` or `checks`.
    """

    monitor: str
    best: float | None = None
    epoch: int | None = None
    left: int | None = None
    patience: int = 0
    unit: str = "checks"


@dataclass(frozen=True)
class Snapshot:
    """A moment of a fit, or of a validation, test or prediction. What has no source is None, and left out.

    Args:
        doing: What goes on, such as `Epoch 3/13`.
        done: Batches done of it.
        total: Batches in all; infinite if nobody knows.
        share: The part of the whole fit that is done, from 0 to 1.
        elapsed: Seconds since the fit has begun.
        left: Seconds to its end, as far as can be told.
        phase: The phase and what it trains.
        loss: The mean training loss of the epoch so far.
        speed: Training samples per second, of all processes.
        standing: The best so far.
    """

    doing: str
    done: int
    total: float
    elapsed: float
    share: float | None = None
    left: float | None = None
    phase: str | None = None
    loss: float | None = None
    speed: float | None = None
    standing: BestSoFar | None = None


@dataclass(frozen=True)
class EpochRow:
    """An epoch that is over.

    Args:
        epoch: Its number, from 0.
        last: The number of the last one; None without a limit.
        metrics: Its metrics by name; the training loss first.
        seconds: What it took, with its validation.
        phase: Its phase, in a few words.
        speed: Training samples per second, of all processes.
        standing: The best so far; it is this epoch's if its `epoch` is the same.
        left: Seconds to the end of the fit, as far as can be told.
    """

    epoch: int
    last: int | None
    metrics: dict[str, float]
    seconds: float
    phase: str | None = None
    speed: float | None = None
    standing: BestSoFar | None = None
    left: float | None = None

    def is_best(self, name: str) -> bool:
        """Whether the metric of this name has its best value in this epoch."""
        return self.standing is not None and self.standing.monitor == name and self.standing.epoch == self.epoch


def number(value: float) -> str:
    """A metric's value, such as `0.0399` or `3.1e-05`."""
    if not math.isfinite(value) or value == 0 or 1e-3 <= abs(value) < 1e4:
        return f"{value:.4f}"
    return f"{value:.2e}"


def duration(seconds: float) -> str:
    """A time, such as `4.2 s`, `42 s`, `3:40 min` or `1:05 h`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02} min"
    minutes = round(seconds / 60)
    return f"{minutes // 60:,}:{minutes % 60:02} h"


def about(seconds: float) -> str:
    """A time that is not known exactly, such as `about 7 s`."""
    return f"about {duration(seconds)}" if seconds >= 9.95 else f"about {max(1, round(seconds))} s"


def speed(samples_per_second: float) -> str:
    """Such as `812 samples/s`."""
    digits = 1 if samples_per_second < 10 else 0
    return f"{samples_per_second:,.{digits}f} samples/s"
