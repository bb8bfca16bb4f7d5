"""Which validation of a fit stands for it: the best, as `BestLossStopping` sees it, or else the last."""

from dataclasses import dataclass
from typing import Any

from lightning.pytorch import Trainer

from plt_nn.callbacks.stopping.best_loss_stopping import BestLossStopping
from plt_nn.callbacks.validation.validation_sums import ClassSums


@dataclass(frozen=True)
class ValidationResult:
    """A validation of the fit.

    Attributes:
        epoch: In which epoch it was, from 0.
        step: After how many optimizer steps.
        position: After how many epochs, with a fraction within an epoch.
        sums: What it has shown; None where the module gives no classes.
    """

    epoch: int
    step: int
    position: float
    sums: ClassSums | None


class BestOrLast:
    """Keeps the last validation, and the best one.

    `BestLossStopping` may be called before or after others at a validation's end, and with a metric of training it
    decides only at the epoch's end. So it is asked when the answer is needed, and a validation is the best if it was
    made at the step of the best.

    Args:
        stopping: Which decides what is the best; None if nothing does.
        last: The last validation so far.
    """

    def __init__(self, stopping: BestLossStopping | None = None, last: ValidationResult | None = None) -> None:
        self.stopping = stopping
        self._last = last
        self._best: ValidationResult | None = None

    def take(self, measured: ValidationResult) -> None:
        """Takes a new validation."""
        self._settle()
        self._last = measured

    def shown(self) -> ValidationResult | None:
        """The best if it was validated, else the last."""
        self._settle()
        return self._best if self._best is not None and self._is_best(self._best) else self._last

    def describe(self) -> str:
        """Which validation is shown, in words."""
        shown = self.shown()
        if shown is None:
            return "no validation"
        if self.stopping is not None and self._is_best(shown):
            return f"validation of the best {self.stopping.monitor}, {self.stopping.describe_best()}"
        return f"the last validation, at epoch {shown.epoch}, step {shown.step}"

    def mark(self) -> tuple[float, str] | None:
        """After how many epochs the best was reached, and what it is; None if nothing decides."""
        at = self.stopping.progress.best_at if self.stopping is not None else None
        if self.stopping is None or at is None:
            return None
        shown = self.shown()
        position = shown.position if shown is not None and self._is_best(shown) else at.epochs + 1.0
        return position, f"best {self.stopping.monitor}, {self.stopping.describe_best()}"

    def _settle(self) -> None:
        if self._last is not None and self._is_best(self._last):
            self._best = self._last

    def _is_best(self, measured: ValidationResult) -> bool:
        at = self.stopping.progress.best_at if self.stopping is not None else None
        return at is not None and at.steps == measured.step


def measured_now(trainer: Trainer, sums: ClassSums | None) -> ValidationResult:
    """The validation that ends now.

    Args:
        trainer: The trainer.
        sums: What it has shown.
    """
    batches = trainer.fit_loop.epoch_loop.batch_progress.current.ready
    position = trainer.current_epoch + share_of_epoch(batches, trainer)
    return ValidationResult(trainer.current_epoch, trainer.global_step, position, sums)


def share_of_epoch(batches: int, trainer: Trainer) -> float:
    """The share of an epoch that some batches are; a half where an epoch has no known length."""
    total = trainer.num_training_batches
    return min(batches / total, 1.0) if 0 < total < float("inf") else 0.5


def to_state(measured: ValidationResult | None) -> dict[str, Any] | None:
    """A validation as plain values and tensors, for a checkpoint."""
    if measured is None:
        return None
    sums = None if measured.sums is None else measured.sums.to_state()
    return {"epoch": measured.epoch, "step": measured.step, "position": measured.position, "sums": sums}


def from_state(state: dict[str, Any] | None) -> ValidationResult | None:
    """The inverse of `to_state`."""
    if state is None:
        return None
    sums = None if state["sums"] is None else ClassSums(**state["sums"])
    return ValidationResult(state["epoch"], state["step"], state["position"], sums)
