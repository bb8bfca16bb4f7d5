"""Does, when a run is resumed, what was due just when its checkpoint was made."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loops.evaluation_loop import RestartStage


class ExactResume(Callback):
    """Lets a resumed run do what was due when its checkpoint was made: no more and no less.

    `ModelCheckpoint(every_n_train_steps=...)` makes its checkpoint at the end of a batch. Where a validation, or the
    end of the epoch, comes right after that batch, Lightning leaves it out when it resumes: the run would miss a check,
    and differ from then on from the run that was never interrupted. With `max_steps`, on the other hand, it goes
    through the end of an epoch that has ended once more, and counts that epoch twice. After a batch that was broken
    off, or a SIGTERM at a validation, it counts one step too many for the loggers.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Ends the epoch, or has the validation done before the next batch, as Lightning would have done."""
        fit, epoch = trainer.fit_loop, trainer.fit_loop.epoch_loop
        if fit._data_fetcher is None:
            return
        if epoch.restarted_on_train_batch_end and epoch.batch_progress.is_last_batch:
            _end_epoch(fit)
        elif epoch.restarted_on_train_batch_end and epoch._should_check_val_fx(fit._data_fetcher):
            _validate_first(epoch)
        elif fit.restarting and _is_finished(fit.epoch_progress.current):
            _begin_next_epoch(fit)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Takes back the step that Lightning may have counted too many for the loggers."""
        epoch = trainer.fit_loop.epoch_loop
        if trainer.fit_loop.is_resuming and epoch._batches_that_stepped == trainer.global_step + 1:
            epoch._batches_that_stepped = trainer.global_step


def _end_epoch(fit: Any) -> None:
    """Does what was left of the epoch; Lightning has already counted it as done."""
    for counts in (fit.epoch_progress.current, fit.epoch_progress.total):
        counts.processed -= 1
        counts.completed -= 1
    _go_on(fit)
    fit.epoch_loop.on_advance_end(fit._data_fetcher)
    fit.on_advance_end()


def _validate_first(epoch: Any) -> None:
    """Has Lightning validate before it trains, as if the checkpoint had been made in the middle of the validation."""
    epoch.val_loop.restarting = False
    epoch.val_loop._restart_stage = RestartStage.RESTARTED_MID_EVALUATION
    if not epoch._should_accumulate():
        epoch._batches_that_stepped -= 1  # counted when Lightning resumes, and again after the validation


def _begin_next_epoch(fit: Any) -> None:
    """Leaves an epoch that has ended at that."""
    if fit.restarted_on_epoch_end:
        fit.epoch_progress.increment_completed()
    _go_on(fit)


def _go_on(fit: Any) -> None:
    """Has Lightning begin the next epoch as it begins any other."""
    fit._restarting = False  # its setter would not allow it with max_steps
    fit.epoch_loop.restarting = False
    fit.reset_restart_stage()


def _is_finished(epochs: Any) -> bool:
    return bool(epochs.ready == epochs.started == epochs.processed)
