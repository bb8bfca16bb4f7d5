"""The rule of early stopping on the best loss, and what is remembered of all checks. Pure: no Trainer, no weights."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Self

from torch import Tensor

Unit = Literal["epochs", "steps", "checks"]
Mode = Literal["min", "max"]


@dataclass(frozen=True)
class Moment:
    """A point in training: epoch and optimizer step, and how many checks there have been before it; all from 0."""

    epochs: int
    steps: int
    checks: int


@dataclass(frozen=True)
class Progress:
    """What is remembered of all checks so far.

    Args:
        best: The best value ever reached; None before the first check.
        best_at: Where it was reached.
        counted: The last value that counted as an improvement, which is what `min_delta` is measured against.
        counted_at: Where that was; patience is counted from here.
    """

    best: float | None = None
    best_at: Moment | None = None
    counted: float | None = None
    counted_at: Moment | None = None

    def describe(self) -> str:
        """The best value and where it was reached, in words."""
        if self.best is None or self.best_at is None:
            return "none"
        return f"{self.best:.6g} at epoch {self.best_at.epochs}, step {self.best_at.steps}"

    @classmethod
    def from_dict(cls, values: dict[str, object]) -> Self:
        """From what `dataclasses.asdict` has made of it for a checkpoint."""
        moments = {key: Moment(**at) for key in ("best_at", "counted_at") if isinstance(at := values[key], dict)}
        return cls(**{**values, **moments})  # type: ignore[arg-type]  # the two spreads together are the four fields


def argument_faults(mode: str, patience: int, unit: str, min_delta: float, best_of: str) -> list[str]:
    """What is wrong with the arguments of `BestLossStopping`, one sentence for each fault."""
    faults = []
    if mode not in ("min", "max"):
        faults.append(f"mode is {mode!r}; expected 'min' or 'max'.")
    if unit not in ("epochs", "steps", "checks"):
        faults.append(f"unit is {unit!r}; expected 'epochs', 'steps' or 'checks'.")
    if patience < 1:
        faults.append(f"patience is {patience}; expected at least 1.")
    if min_delta < 0 or not math.isfinite(min_delta):
        faults.append(f"min_delta is {min_delta}; expected 0 or more.")
    if best_of not in ("run", "phase"):
        faults.append(f"best_of is {best_of!r}; expected 'run' or 'phase'.")
    return faults


def is_better(value: float, than: float | None, mode: Mode, by: float = 0.0) -> bool:
    """Whether `value` is strictly better by more than `by`; anything is better than None."""
    if than is None:
        return True
    return value < than - by if mode == "min" else value > than + by


def after_check(progress: Progress, value: float, now: Moment, mode: Mode, min_delta: float) -> Progress:
    """What is remembered after a check.

    The best is the best value ever reached, however small the gain; only a gain of more than `min_delta` renews
    patience.
    """
    assert math.isfinite(value), "a value that is not finite ends training; it is never compared"
    if is_better(value, progress.best, mode):
        progress = replace(progress, best=value, best_at=now)
    if is_better(value, progress.counted, mode, by=min_delta):
        progress = replace(progress, counted=value, counted_at=now)
    return progress


def patience_left(progress: Progress, now: Moment, patience: int, unit: Unit) -> int:
    """How many more units may pass without improvement; training stops at 0."""
    if progress.counted_at is None:
        return patience
    passed: int = getattr(now, unit) - getattr(progress.counted_at, unit)
    return max(0, patience - passed)


@dataclass
class CheckHistory:
    """The checks so far.

    Args:
        progress: The best value and where it was reached.
        metrics: All metrics that were logged together with the best value.
        checks: How many checks there have been.
        last_check: When the last one was.
        starts_over: Whether the next check is the first that counts, because a new phase has begun.
    """

    progress: Progress = field(default_factory=Progress)
    metrics: dict[str, float] = field(default_factory=dict)
    checks: int = 0
    last_check: Moment | None = None
    starts_over: bool = False

    def begin_check(self, epoch: int, step: int) -> Moment:
        """Counts a check, whatever its value is."""
        self.last_check = Moment(epoch, step, self.checks)
        self.checks += 1
        return self.last_check

    def add(self, value: float, metrics: Mapping[str, float | Tensor], mode: Mode, min_delta: float) -> bool:
        """Adds the finite value of the check that has begun; returns whether it is the best so far."""
        assert self.last_check is not None, "a value without a check"
        if self.starts_over:
            self.progress, self.starts_over = Progress(), False
        is_best = is_better(value, self.progress.best, mode)
        self.progress = after_check(self.progress, value, self.last_check, mode, min_delta)
        if is_best:
            self.metrics = {name: float(metric) for name, metric in metrics.items()}
        return is_best

    def renew_patience(self, epoch: int, step: int, starts_over: bool) -> None:
        """Lets patience begin again, as if the check before had been an improvement."""
        if self.progress.counted_at is not None:
            self.progress = replace(self.progress, counted_at=Moment(epoch, step, self.checks - 1))
        self.starts_over = starts_over

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        values = asdict(self)
        values["begin_anew"] = values.pop("starts_over")  # its name in checkpoints
        return values

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        last = state.get("last_check")
        moment = Moment(**last) if last is not None else None
        progress = Progress.from_dict(state["progress"])
        return cls(progress, state.get("metrics", {}), state["checks"], moment, state.get("begin_anew", False))
