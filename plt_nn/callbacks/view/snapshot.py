"""What the view shows: a fit at one moment, and the words for it. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from plt_nn.text import duration


@dataclass(frozen=True)
class BestSoFar:
    """The best value of the monitored metric, and how long the fit continues without a better one."""

    monitor: str
    value: float | None = None
    epoch: int | None = None  # of that value, from 0; None if unknown
    remaining: int | None = None  # units that may pass without improvement; None without early stopping
    patience: int = 0  # the same in all
    unit: str = "checks"  # epochs, steps or checks


@dataclass(frozen=True)
class Snapshot:
    """A fit, validation, test or prediction at one moment, or an epoch that has ended. What is None is not shown."""

    title: str  # what runs: "Epoch 3/13", "Validation"
    done: int  # its batches so far
    total: float  # all its batches; infinite if unknown
    seconds: float  # since the fit began; for an epoch that has ended, the epoch's own, with its validation
    share: float | None = None  # completed part of the whole fit, from 0 to 1
    remaining: float | None = None  # seconds until the fit ends, as an estimate
    phase: str | None = None  # of the freezing schedule
    metrics: Mapping[str, float] = field(default_factory=dict)  # within an epoch only the mean training loss so far
    speed: float | None = None  # training samples per second, of all processes
    best: BestSoFar | None = None
    is_best: bool = False  # whether the epoch that has ended reached the best value

    def is_best_of(self, name: str) -> bool:
        """Whether the metric of this name has its best value in this epoch."""
        return self.is_best and self.best is not None and self.best.monitor == name

    def words(self) -> dict[str, str]:
        """What is known, in words, by `count`, `phase`, `metrics`, `speed`, `time`, `best`, `patience` and `left`."""
        names, best = self.metrics, self.best
        words = {"count": f"{self.done:,}" + (f"/{self.total:,.0f}" if math.isfinite(self.total) else "")}
        if self.phase is not None:
            words["phase"] = f"phase {self.phase}"
        if names:
            marked = {name: f"{metric_text(names[name])}{' (best)' if self.is_best_of(name) else ''}" for name in names}
            words["metrics"] = ", ".join(f"{name} {value}" for name, value in marked.items())
        if self.speed is not None:
            words["speed"] = f"{self.speed:,.{1 if self.speed < 10 else 0}f} samples/s"
        words["time"] = duration(self.seconds)
        if best is not None and best.value is not None and not (self.is_best and best.monitor in names):
            where = f" at epoch {best.epoch}" if best.epoch is not None else ""
            words["best"] = f"best {best.monitor} {metric_text(best.value)}{where}"
        if best is not None and best.remaining is not None:
            words["patience"] = f"patience {best.remaining} of {best.patience} {best.unit}"
        if self.remaining is not None:
            words["left"] = f"about {estimate(self.remaining)} left"
        return words


def metric_text(value: float) -> str:
    """A metric's value: `0.0399`, `3.10e-05`."""
    is_plain = not math.isfinite(value) or value == 0 or 1e-3 <= abs(value) < 1e4
    return f"{value:.4f}" if is_plain else f"{value:.2e}"


def estimate(seconds: float) -> str:
    """A time without fractions of a second: `7 s`."""
    return duration(seconds) if seconds >= 9.95 else f"{max(1, round(seconds))} s"
