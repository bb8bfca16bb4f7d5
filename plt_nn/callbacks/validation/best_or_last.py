"""Which validation of a fit its figures show: the best, as `BestLossStopping` sees it, or else the last."""

from dataclasses import asdict, dataclass
from typing import Any

from lightning.pytorch import Trainer

from plt_nn.callbacks.stopping.best_loss_stopping import BestLossStopping
from plt_nn.callbacks.validation.class_results import ClassResults


@dataclass(frozen=True)
class ValidationResult:
    """A validation of the fit."""

    epoch: int  # in which it was, from 0
    step: int  # optimizer steps before it
    position: float  # epochs trained before it, with a fraction within an epoch
    sums: ClassResults | None  # None where the module does not classify; "sums" is its name in checkpoints

    @classmethod
    def from_state(cls, state: dict[str, Any] | None) -> "ValidationResult | None":
        """From what `asdict` has made of it for a checkpoint."""
        if state is None:
            return None
        return cls(**{**state, "sums": None if state["sums"] is None else ClassResults(**state["sums"])})


class BestOrLast:
    """Remembers the last validation, and the best one.

    `BestLossStopping` may be called before or after others at a validation's end, and with a metric of training it
    decides only at the epoch's end. So it is asked when the answer is needed, and a validation is the best if it was
    made at the step of the best.

    Args:
        stopping: Decides which is the best; None if nothing does.
        last: The last validation so far.
    """

    def __init__(self, stopping: BestLossStopping | None = None, last: ValidationResult | None = None) -> None:
        self._stopping, self._last = stopping, last
        self._best: ValidationResult | None = None

    def add(self, result: ValidationResult) -> None:
        """Takes a new validation, after another look at the one before."""
        self.shown()
        self._last = result

    def shown(self) -> ValidationResult | None:
        """The best if it was validated, else the last."""
        self._best = next((result for result in (self._last, self._best) if self._is_best(result)), self._best)
        return self._best if self._is_best(self._best) else self._last

    def describe(self) -> str:
        """Which validation is shown, in words."""
        shown = self.shown()
        if shown is None:
            return "no validation"
        if self._is_best(shown) and (best := self.mark()) is not None:
            return f"validation of the {best[1]}"
        return f"the last validation, at epoch {shown.epoch}, step {shown.step}"

    def mark(self) -> tuple[float, str] | None:
        """The epochs trained when the best was reached, and what it is; None if nothing decides."""
        if self._stopping is None or (at := self._stopping.progress.best_at) is None:
            return None
        shown = self.shown()
        position = shown.position if shown is not None and self._is_best(shown) else at.epochs + 1.0
        return position, f"best {self._stopping.monitor}, {self._stopping.describe_best()}"

    def to_state(self) -> dict[str, Any] | None:
        """The validation that would be shown now, for a checkpoint."""
        shown = self.shown()
        return None if shown is None else asdict(shown)

    def _is_best(self, result: ValidationResult | None) -> bool:
        at = self._stopping.progress.best_at if self._stopping is not None else None
        return at is not None and result is not None and at.steps == result.step


def result_now(trainer: Trainer, sums: ClassResults | None) -> ValidationResult:
    """The validation that ends now, with what it has shown."""
    batches = trainer.fit_loop.epoch_loop.batch_progress.current.ready
    position = trainer.current_epoch + share_of_epoch(batches, trainer)
    return ValidationResult(trainer.current_epoch, trainer.global_step, position, sums)


def share_of_epoch(batches: int, trainer: Trainer) -> float:
    """The share of an epoch that some batches are; a half where an epoch has no known length."""
    total = trainer.num_training_batches
    return min(batches / total, 1.0) if 0 < total < float("inf") else 0.5
