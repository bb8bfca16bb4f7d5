"""What the view remembers from step to step: epochs, the best value, and the snapshots it makes of them."""

import math
import time
from collections.abc import Mapping
from dataclasses import replace

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from plt_nn.callbacks.freezing.freezing_schedule import FreezingSchedule
from plt_nn.callbacks.lightning.callback_order import callback_of, callbacks_of
from plt_nn.callbacks.lightning.loops import evaluation_batches, max_time_seconds, remaining_batches
from plt_nn.callbacks.lightning.monitored import logged_by_this_loop
from plt_nn.callbacks.stopping.best_loss_stopping import BestLossStopping
from plt_nn.callbacks.stopping.patience import Mode, is_better
from plt_nn.callbacks.view.epoch_progress import EpochCost, EpochProgress, remaining_seconds
from plt_nn.callbacks.view.snapshot import BestSoFar, Snapshot

_Monitoring = BestLossStopping | EarlyStopping | ModelCheckpoint


class BestTracker:
    """Follows the metric of early stopping, else that of a checkpoint callback, else `val_loss`.

    Args:
        trainer: The trainer at the start of a fit. If it is resumed, the best value comes from its callbacks; a metric
            that none of them monitors is not followed, because its best before is unknown.
    """

    def __init__(self, trainer: Trainer) -> None:
        is_new = trainer.global_step == 0
        known = [*callbacks_of(trainer, BestLossStopping), *callbacks_of(trainer, EarlyStopping)]
        candidates: list[_Monitoring] = [*known, *callbacks_of(trainer, ModelCheckpoint)]
        found = [callback for callback in candidates if callback.monitor is not None]
        self.monitor: str | None = found[0].monitor if found else "val_loss" if is_new else None
        self.mode: Mode = "max" if found and found[0].mode == "max" else "min"
        self.value = None if is_new or not found else _best_value(found[0])
        self.epoch: int | None = None

    def update(self, metrics: Mapping[str, float], epoch: int) -> None:
        """Compares the metrics of an epoch that has ended."""
        value = metrics.get(self.monitor or "", math.nan)
        if math.isfinite(value) and is_better(value, self.value, self.mode):
            self.value, self.epoch = value, epoch

    def best(self, trainer: Trainer) -> BestSoFar | None:
        """The best so far; `BestLossStopping` knows it at each check, not only at an epoch's end."""
        if self.monitor is None:
            return None
        if stopping := callback_of(trainer, BestLossStopping):
            progress, remaining = stopping.progress, min(stopping.patience, stopping.patience_left)
            epoch = progress.best_at.epochs if progress.best_at is not None else None
            return BestSoFar(self.monitor, progress.best, epoch, remaining, stopping.patience, stopping.unit)
        if early := callback_of(trainer, EarlyStopping):
            remaining = max(0, early.patience - early.wait_count)
            return BestSoFar(self.monitor, self.value, self.epoch, remaining, early.patience)
        return BestSoFar(self.monitor, self.value, self.epoch)


def _best_value(callback: _Monitoring) -> float | None:
    """The best value that a callback has restored from a checkpoint."""
    score = callback.best_model_score if isinstance(callback, ModelCheckpoint) else callback.best_score
    return float(score) if score is not None and math.isfinite(score) else None


_MOST_METRICS = 6  # in a row of the table
_EVALUATIONS = {"validate": "Validation", "test": "Test", "predict": "Prediction"}


class ProgressState:
    """The progress of a fit, or of a validation, test or prediction by itself.

    Args:
        trainer: The trainer at the start of a fit; None for anything else.
    """

    def __init__(self, trainer: Trainer | None = None) -> None:
        self.epoch = EpochProgress(trainer.current_epoch if trainer is not None else 0)
        self.evaluated = 0  # batches of the validation, test or prediction that runs
        self._tracker = BestTracker(trainer) if trainer is not None else None
        self._began = time.monotonic()
        self._finished: list[EpochCost] = []
        self._validated: set[str] = set()  # names of validation metrics of any epoch

    def begin_evaluation(self) -> None:
        """A validation, test or prediction begins."""
        self.evaluated = 0
        self.epoch.training.stop()

    def end_validation(self, trainer: Trainer) -> None:
        """A validation within a fit has ended."""
        self.epoch.training.start()
        self.epoch.validated |= logged_by_this_loop(trainer).keys()
        self._validated |= self.epoch.validated

    def snapshot(self, trainer: Trainer) -> Snapshot:
        """The present moment."""
        elapsed, is_fit = time.monotonic() - self._began, trainer.state.fn == "fit"
        if self._tracker is None or not is_fit:
            title = "Sanity check" if is_fit else _EVALUATIONS[trainer.state.fn or "validate"]
            return Snapshot(title, self.evaluated, evaluation_batches(trainer), elapsed)
        epoch, number, loss, speed = self.epoch, _phase(trainer), self.epoch.loss.latest(), self.epoch.speed()
        is_validating = not epoch.has_ended and not epoch.training.is_running
        last = f"/{trainer.max_epochs - 1}" if trainer.max_epochs is not None and trainer.max_epochs > 0 else ""
        remaining, share = self._outlook(trainer, number)
        return Snapshot(
            title="Validation" if is_validating else f"Epoch {epoch.number}{last}",
            done=self.evaluated if is_validating else epoch.done,
            total=evaluation_batches(trainer) if is_validating else float(trainer.num_training_batches),
            seconds=elapsed,
            share=share,
            remaining=remaining,
            phase=_describe_phase(trainer, is_short=epoch.has_ended),
            metrics={"loss": loss} if loss is not None else {},
            speed=speed and speed * trainer.world_size,
            best=self._tracker.best(trainer),
        )

    def end_epoch(self, trainer: Trainer) -> Snapshot:
        """The epoch that has ended, with all its metrics; to be called once for each."""
        assert self._tracker is not None, "an epoch outside a fit"
        epoch, stale = self.epoch, self._validated - self.epoch.validated
        self._finished.append(EpochCost(_phase(trainer), epoch.whole.seconds, epoch.batches))
        metrics = shown_metrics(trainer, self._tracker.monitor, stale, epoch.loss.mean())
        self._tracker.update(metrics, epoch.number)
        now = self.snapshot(trainer)
        is_best = now.best is not None and now.best.epoch == epoch.number
        remaining = None if trainer.should_stop else now.remaining or None
        return replace(now, seconds=epoch.whole.seconds, metrics=metrics, is_best=is_best, remaining=remaining)

    def _outlook(self, trainer: Trainer, phase: int | None) -> tuple[float | None, float | None]:
        """Seconds until the end of the fit, and the part of it that is done."""
        epoch, total = self.epoch, float(trainer.num_training_batches)
        batches = remaining_batches(trainer, epoch.number + epoch.has_ended, 0 if epoch.has_ended else epoch.done)
        seconds = remaining_seconds(self._finished, EpochCost(phase, epoch.whole.seconds, epoch.batches), batches)
        done = (epoch.number * total if math.isfinite(total) else 0) + epoch.done
        share = done / (done + batches) if math.isfinite(batches) and done + batches > 0 else None
        if (limit := max_time_seconds(trainer)) is not None:
            elapsed, until_limit = limit
            seconds = until_limit if seconds is None else min(seconds, until_limit)
            share = max(share or 0.0, elapsed / (elapsed + until_limit) if elapsed + until_limit > 0 else 1.0)
        return seconds, share


def shown_metrics(trainer: Trainer, monitor: str | None, stale: set[str], loss: float | None) -> dict[str, float]:
    """The metrics of an epoch that has ended: those logged with `prog_bar=True` and the monitored one, losses first.

    Args:
        trainer: The trainer, after the epoch's end. If nothing is logged for a progress bar, the first few are shown.
        monitor: The name of the monitored metric.
        stale: Names of metrics whose values are of an earlier epoch.
        loss: The mean of the losses of the training steps, which is shown if no training loss is logged.
    """
    logged, in_bar = trainer.callback_metrics, trainer.progress_bar_metrics
    names = [name for name in logged if name not in stale | {"phase", "epoch"} and not name.endswith("_step")]
    names = [name for name in names if not (name.endswith("_epoch") and name.removesuffix("_epoch") in names)]
    chosen = [name for name in names if name in in_bar or f"{name}_epoch" in in_bar or name == monitor] or names
    chosen = sorted(chosen[:_MOST_METRICS], key=lambda name: (not _is_training_loss(name), "loss" not in name))
    shown = {name: float(logged[name]) for name in chosen if logged[name].numel() == 1}
    return shown if loss is None or any(map(_is_training_loss, shown)) else {"loss": loss, **shown}


def _is_training_loss(name: str) -> bool:
    return "loss" in name and not name.startswith(("val", "test"))


def _phase(trainer: Trainer) -> int | None:
    schedule = callback_of(trainer, FreezingSchedule)
    return schedule.current if schedule is not None and schedule.plan is not None else None


def _describe_phase(trainer: Trainer, is_short: bool) -> str | None:
    schedule, number = callback_of(trainer, FreezingSchedule), _phase(trainer)
    if schedule is None or schedule.plan is None or number is None:
        return None
    train = schedule.phases[number].train
    short = f"{number} {train if isinstance(train, str) else ', '.join(train)}"
    return short if is_short else f"{number}/{len(schedule.phases) - 1} trains {schedule.plan.describe(number)}"
