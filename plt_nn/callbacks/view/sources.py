"""What `TrainingView` reads of a trainer and of the other callbacks. Pure but for that."""

import math
from typing import Any, NamedTuple

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, Timer
from torch import Tensor

from plt_nn.callbacks.freezing.freezing_schedule import FreezingSchedule
from plt_nn.callbacks.stopping.best_loss_stopping import BestLossStopping
from plt_nn.callbacks.stopping.patience import Mode
from plt_nn.callbacks.view.snapshot import BestSoFar
from plt_nn.callbacks.view.time_left import batches_left

_MOST = 6  # metrics in a row


class PresentPhase(NamedTuple):
    """A phase of a freezing schedule.

    Attributes:
        number: Its number, from 0.
        last: The number of the last one.
        in_short: What it trains, in a few words.
        in_full: The same with the number of parameters.
    """

    number: int
    last: int
    in_short: str
    in_full: str


def phase_of(trainer: Trainer) -> PresentPhase | None:
    """The present phase, if there is a freezing schedule."""
    for schedule in _callbacks(trainer, FreezingSchedule):
        number = schedule.current
        if number is not None and schedule.plan is not None:
            train = schedule.phases[number].train
            in_short = train if isinstance(train, str) else ", ".join(train)
            return PresentPhase(number, len(schedule.phases) - 1, in_short, schedule.plan.describe(number))
    return None


def watched(trainer: Trainer) -> tuple[str, Mode] | None:
    """The metric whose best is told: that of early stopping, else that of a checkpoint callback."""
    for callback in [*_callbacks(trainer, EarlyStopping), *_callbacks(trainer, ModelCheckpoint)]:
        if callback.monitor is not None:
            return callback.monitor, "max" if callback.mode == "max" else "min"
    return None


def best_before(trainer: Trainer) -> float | None:
    """The best value that Lightning's own callbacks have taken from a checkpoint."""
    bests = [callback.best_score for callback in _callbacks(trainer, EarlyStopping)]
    bests += [callback.best_model_score for callback in _callbacks(trainer, ModelCheckpoint) if callback.monitor]
    known = [float(best) for best in bests if best is not None]
    return known[0] if known and math.isfinite(known[0]) else None


def standing_of(trainer: Trainer, monitor: str, best: float | None, epoch: int | None) -> BestSoFar:
    """The best so far and the patience that is left.

    Args:
        trainer: The trainer.
        monitor: The metric.
        best: Its best value as seen from outside; `BestLossStopping` knows it better.
        epoch: The epoch of that value.
    """
    for callback in _callbacks(trainer, EarlyStopping):
        if isinstance(callback, BestLossStopping):
            at, known = callback.progress.best_at, callback.progress.best
            left = min(callback.patience, callback.patience_left)
            epoch = at.epochs if at is not None else None
            return BestSoFar(callback.monitor, known, epoch, left, callback.patience, callback.unit)
        left = max(0, callback.patience - callback.wait_count)
        return BestSoFar(monitor, best, epoch, left, callback.patience, "checks")
    return BestSoFar(monitor, best, epoch)


def seconds_of_timer(trainer: Trainer) -> tuple[float, float] | None:
    """The seconds that have passed and that remain, if the fit is limited by `max_time`."""
    for timer in _callbacks(trainer, Timer):
        remaining = timer.time_remaining()
        if remaining is not None:
            return timer.time_elapsed(), max(0.0, remaining)
    return None


def batches_to_the_end(trainer: Trainer, epoch: int, done: int) -> float:
    """Training batches until the fit reaches a limit; infinite if nobody knows.

    Args:
        trainer: The trainer, in a fit.
        epoch: The epoch that goes on, or begins.
        done: Its batches so far.
    """
    return batches_left(
        epoch,
        done,
        trainer.num_training_batches,
        trainer.max_epochs if trainer.max_epochs is not None else -1,
        trainer.global_step,
        trainer.max_steps,
        trainer.accumulate_grad_batches,
    )


def evaluation_batches(trainer: Trainer) -> float:
    """Batches of the validation, test or prediction that goes on; infinite if nobody knows."""
    if trainer.sanity_checking:
        batches: Any = trainer.num_sanity_val_batches
    elif trainer.testing:
        batches = trainer.num_test_batches
    else:
        batches = trainer.num_predict_batches if trainer.predicting else trainer.num_val_batches
    return float(sum(batches) if isinstance(batches, list) else batches)


def last_epoch(trainer: Trainer) -> int | None:
    """The number of the last epoch, if there is a limit."""
    return trainer.max_epochs - 1 if trainer.max_epochs is not None and trainer.max_epochs > 0 else None


def row_metrics(trainer: Trainer, monitor: str | None, stale: set[str], loss: float | None) -> dict[str, float]:
    """The metrics of an epoch that is over: those that are logged for a progress bar, and the one that is watched.

    If none are meant for a progress bar, the first few. Losses come first, that of training before the others; it is
    the mean of what the steps have returned, if none is logged.

    Args:
        trainer: The trainer, after the epoch's end.
        monitor: The metric that is watched.
        stale: Names of metrics that are left from an earlier epoch.
        loss: The mean of the losses that the training steps have returned.
    """
    logged = trainer.callback_metrics
    whole = {name: value for name, value in logged.items() if not name.endswith("_step") and name not in stale}
    fit = {name: value for name, value in whole.items() if not _is_twin(name, whole)}
    in_bar = trainer.progress_bar_metrics
    meant = [name for name in fit if name in in_bar or f"{name}_epoch" in in_bar or name == monitor]
    chosen = sorted((meant or list(fit))[:_MOST], key=lambda name: (not _is_loss_of_training(name), "loss" not in name))
    chosen = [name for name in chosen if name not in ("phase", "epoch")]
    told = {name: float(fit[name]) for name in chosen if _is_scalar(fit[name])}
    has_loss = any(_is_loss_of_training(name) for name in told)
    return ({"loss": loss} if loss is not None and not has_loss else {}) | told


def _is_loss_of_training(name: str) -> bool:
    return "loss" in name and not name.startswith(("val", "test"))


def _is_twin(name: str, names: dict[str, Tensor]) -> bool:
    return name.endswith("_epoch") and name.removesuffix("_epoch") in names


def _is_scalar(value: Any) -> bool:
    return not isinstance(value, Tensor) or value.numel() == 1


def _callbacks(trainer: Trainer, kind: type[Any]) -> list[Any]:
    return [callback for callback in getattr(trainer, "callbacks", []) if isinstance(callback, kind)]
