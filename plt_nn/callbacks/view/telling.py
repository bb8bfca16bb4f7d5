"""Puts together what is told of a fit: what it keeps from step to step, and what it reads of the trainer."""

import math
import time
from typing import Any

from lightning.pytorch import Trainer

from plt_nn.callbacks.stopping.patience import Mode, is_better
from plt_nn.callbacks.view import sources
from plt_nn.callbacks.view.epoch_clock import EpochClock
from plt_nn.callbacks.view.epoch_loss import EpochLoss
from plt_nn.callbacks.view.snapshot import BestSoFar, EpochRow, Snapshot
from plt_nn.callbacks.view.time_left import Cost, seconds_left

_VERBS = {"validate": "Validation", "test": "Test", "predict": "Prediction"}


class ProgressState:
    """What is told of a fit, or of a validation, test or prediction.

    Args:
        monitor: The metric whose best is told, if there is one.
        mode: `min` if lower is better, `max` if higher is better.
        best: Its best value before, if it is known.
    """

    def __init__(self, monitor: str | None = None, mode: Mode = "min", best: float | None = None) -> None:
        self.clock = EpochClock()
        self.loss = EpochLoss()
        self.evaluated = 0  # batches of the validation, test or prediction that goes on
        self._monitor, self._mode, self._best = monitor, mode, best
        self._best_epoch: int | None = None
        self._done = 0  # batches of the epoch, with those before the fit was resumed
        self._fresh: set[str] = set()  # metrics of validation that are of this epoch
        self._validated: set[str] = set()  # and of any epoch
        self._of_validation = 0.0  # batches
        self._costs: list[Cost] = []
        self._began = time.monotonic()

    @classmethod
    def of_fit(cls, trainer: Trainer) -> "ProgressState":
        """At the start of a fit, which may be one that is resumed."""
        is_new = trainer.global_step == 0
        monitor, mode = sources.watched(trainer) or ("val_loss" if is_new else None, "min")
        teller = cls(monitor, mode, None if is_new else sources.best_before(trainer))
        teller.clock.epoch = trainer.current_epoch
        return teller

    # -- what happens -------------------------------------------------------------------------------------------------

    def begin_epoch(self, epoch: int) -> None:
        """An epoch begins."""
        self.clock = EpochClock(epoch)
        self.loss.reset()
        self._done, self._fresh = 0, set()

    def add_batch(self, samples: int, outputs: Any, batch_idx: int) -> None:
        """A training batch is done."""
        self.clock.add(samples)
        self.loss.add(outputs)
        self._done = batch_idx + 1

    def begin_evaluation(self, trainer: Trainer) -> None:
        """A validation, test or prediction begins."""
        self.evaluated = 0
        self._of_validation = sources.evaluation_batches(trainer)
        self.clock.pause()

    def end_validation(self, logged: set[str]) -> None:
        """A validation within a fit has ended, with these metrics."""
        self.clock.go_on()
        self._fresh |= logged
        self._validated |= logged

    # -- what is told -------------------------------------------------------------------------------------------------

    def snapshot(self, trainer: Trainer) -> Snapshot:
        """The present moment."""
        elapsed = time.monotonic() - self._began
        doing = _VERBS.get(str(trainer.state.fn.value if trainer.state.fn else ""))
        if trainer.sanity_checking:
            doing = "Sanity check"
        if doing is not None:
            return Snapshot(doing, self.evaluated, self._of_validation, elapsed)
        phase = sources.phase_of(trainer)
        done, total = self._done, float(trainer.num_training_batches)
        if is_validation := self.clock.is_validating:
            done, total = self.evaluated, self._of_validation
        left, share = self._ahead(trainer, elapsed)
        return Snapshot(
            doing="Validation" if is_validation else _epoch(trainer),
            done=done,
            total=total,
            elapsed=elapsed,
            share=share,
            left=left,
            phase=phase and f"{phase.number}/{phase.last} trains {phase.in_full}",
            loss=self.loss.glance(),
            speed=_of_all(self.clock.speed_now(), trainer),
            standing=self._standing(trainer),
        )

    def row(self, trainer: Trainer) -> EpochRow:
        """The epoch that is over. To be called once for each."""
        phase = sources.phase_of(trainer)
        self._costs.append(Cost(phase and phase.number, self.clock.seconds, self.clock.batches))
        stale = self._validated - self._fresh
        metrics = sources.row_metrics(trainer, self._monitor, stale, self.loss.value())
        self._note_best(metrics)
        return EpochRow(
            epoch=self.clock.epoch,
            last=sources.last_epoch(trainer),
            metrics=metrics,
            seconds=self.clock.seconds,
            phase=phase and f"{phase.number} {phase.in_short}",
            speed=_of_all(self.clock.speed(), trainer),
            standing=self._standing(trainer),
            left=None if trainer.should_stop else self._ahead(trainer, 0.0)[0],
        )

    def _note_best(self, metrics: dict[str, float]) -> None:
        value = metrics.get(self._monitor or "")
        if value is not None and math.isfinite(value) and is_better(value, self._best, self._mode):
            self._best, self._best_epoch = value, self.clock.epoch

    def _standing(self, trainer: Trainer) -> BestSoFar | None:
        if self._monitor is None:
            return None
        return sources.standing_of(trainer, self._monitor, self._best, self._best_epoch)

    def _ahead(self, trainer: Trainer, elapsed: float) -> tuple[float | None, float | None]:
        """Seconds to the end of the fit, and the part of it that is done."""
        total = float(trainer.num_training_batches)
        done = 0 if self.clock.has_ended else self._done
        batches = sources.batches_to_the_end(trainer, self.clock.epoch + self.clock.has_ended, done)
        phase = sources.phase_of(trainer)
        present = Cost(phase and phase.number, self.clock.seconds, self.clock.batches)
        left = seconds_left(self._costs, present, batches)
        over = (self.clock.epoch * total if math.isfinite(total) else 0) + self._done
        share = over / (over + batches) if math.isfinite(batches) and over + batches > 0 else None
        timer = sources.seconds_of_timer(trainer)
        if timer is not None:
            passed, remaining = timer
            left = remaining if left is None else min(left, remaining)
            share = max(share or 0.0, passed / (passed + remaining) if passed + remaining > 0 else 1.0)
        return left, share


def _epoch(trainer: Trainer) -> str:
    last = sources.last_epoch(trainer)
    return f"Epoch {trainer.current_epoch}" + (f"/{last}" if last is not None else "")


def _of_all(speed: float | None, trainer: Trainer) -> float | None:
    return None if speed is None else speed * trainer.world_size
