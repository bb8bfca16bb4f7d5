"""What is remembered of all checks of a monitored metric in a fit."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from torch import Tensor

from plt_nn.callbacks.stopping.patience import Mode, Moment, Progress, after_check, is_better, renewed


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
        self.progress = renewed(self.progress, Moment(epoch, step, self.checks - 1))
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
