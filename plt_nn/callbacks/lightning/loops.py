"""Lightning's loops: how far training has come, what the loops read, and what a resumed loop still has to do."""

from collections.abc import Callable
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.loops.evaluation_loop import RestartStage


def batches_done(trainer: Trainer) -> int:
    """How many batches of the present epoch have been trained on; a batch that is being trained on does not count."""
    progress: Any = trainer.fit_loop.epoch_loop.batch_progress.current  # typed by its base class, which lacks this
    return int(progress.processed)


def watch_fetches(trainer: Trainer, before: Callable[[], None], after: Callable[[], None]) -> None:
    """Has functions called before and after each time that the training loop takes a batch from its loader.

    Between the end of a batch and the start of the next one Lightning also validates, logs, saves and talks to other
    processes, so no hook tells how long the loader takes. The loop calls two methods around each fetch, for its
    profiler; here attributes of the instance hide them.

    Args:
        trainer: The trainer, in a fit.
        before: Called before each fetch.
        after: Called after each fetch.
    """
    loop: Any = trainer.fit_loop.epoch_loop
    own_before, own_after = loop._on_before_fetch, loop._on_after_fetch

    def on_before_fetch() -> None:
        own_before()
        before()

    def on_after_fetch() -> None:
        after()
        own_after()

    loop._on_before_fetch, loop._on_after_fetch = on_before_fetch, on_after_fetch


def stop_watching_fetches(trainer: Trainer) -> None:
    """Ends what `watch_fetches` began; does nothing if that is not the case."""
    loop: Any = trainer.fit_loop.epoch_loop
    for name in ("_on_before_fetch", "_on_after_fetch"):
        vars(loop).pop(name, None)


def finish_restart(trainer: Trainer) -> None:
    """Does what was due when the checkpoint was made, and begins no epoch a second time; call it in `on_train_start`.

    Where a validation or the end of the epoch was due right after the batch of the checkpoint, Lightning skips it when
    it resumes. With `max_steps` it repeats the end of an epoch that had ended.
    """
    fit: Any = trainer.fit_loop
    epoch = fit.epoch_loop
    if fit._data_fetcher is None:
        return
    if epoch.restarted_on_train_batch_end and epoch.batch_progress.is_last_batch:
        _end_epoch(fit)
    elif epoch.restarted_on_train_batch_end and epoch._should_check_val_fx(fit._data_fetcher):
        _validate_first(epoch)
    elif fit.restarting and _has_ended(fit.epoch_progress.current):
        _begin_next_epoch(fit)


def correct_logged_step(trainer: Trainer) -> None:
    """Takes back the step that a resumed loop may have counted too many for the loggers."""
    epoch = trainer.fit_loop.epoch_loop
    if trainer.fit_loop.is_resuming and epoch._batches_that_stepped == trainer.global_step + 1:
        epoch._batches_that_stepped = trainer.global_step


def _end_epoch(fit: Any) -> None:
    """Does what remained of the epoch, which Lightning has already counted as completed."""
    for counts in (fit.epoch_progress.current, fit.epoch_progress.total):
        counts.processed -= 1
        counts.completed -= 1
    _continue_normally(fit)
    fit.epoch_loop.on_advance_end(fit._data_fetcher)
    fit.on_advance_end()


def _validate_first(epoch: Any) -> None:
    """Has Lightning validate before it trains, as if the checkpoint had been made in the middle of the validation."""
    epoch.val_loop.restarting = False
    epoch.val_loop._restart_stage = RestartStage.RESTARTED_MID_EVALUATION
    if not epoch._should_accumulate():
        epoch._batches_that_stepped -= 1  # counted when Lightning resumes, and again after the validation


def _begin_next_epoch(fit: Any) -> None:
    if fit.restarted_on_epoch_end:
        fit.epoch_progress.increment_completed()
    _continue_normally(fit)


def _continue_normally(fit: Any) -> None:
    """Has Lightning begin the next epoch as it begins any other."""
    fit._restarting = False  # its setter would not allow it with max_steps
    fit.epoch_loop.restarting = False
    fit.reset_restart_stage()


def _has_ended(epochs: Any) -> bool:
    return bool(epochs.ready == epochs.started == epochs.processed)
