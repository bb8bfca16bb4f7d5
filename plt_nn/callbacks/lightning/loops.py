"""Lightning's loops: how far training has come and what remains, the loaders that they read, resuming exactly."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.loops.evaluation_loop import RestartStage

from plt_nn.callbacks.lightning.callback_order import callbacks_of


def batches_done(trainer: Trainer) -> int:
    """How many batches of the present epoch have been trained on; a batch that is being trained on does not count."""
    progress: Any = trainer.fit_loop.epoch_loop.batch_progress.current  # typed by its base class, which lacks this
    return int(progress.processed)


def watch_fetches(trainer: Trainer, before: Callable[[], None], after: Callable[[], None]) -> None:
    """Has functions called before and after each time that the training loop takes a batch from its loader.

    Between the end of a batch and the start of the next one Lightning also validates, logs, saves and talks to other
    processes, so no hook tells how long the loader takes. The loop calls two methods around each fetch, for its
    profiler; here attributes of the instance hide them.
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


Split = Literal["training", "validation", "test"]


class LoopLoaders:
    """The loaders that one loop reads.

    Args:
        trainer: The trainer; its loop must have set up its data.
        split: Which loaders; those of validation are the fit's during a fit.
    """

    def __init__(self, trainer: Trainer, split: Split) -> None:
        loop: Any = trainer.test_loop
        if split == "training":
            loop = trainer.fit_loop
        elif split == "validation":
            loop = trainer.fit_loop.epoch_loop.val_loop if trainer.state.fn == "fit" else trainer.validate_loop
        self._fetcher: Any = loop._data_fetcher
        self.combined: Any = self._fetcher.combined_loader

    def are_read_together(self) -> bool:
        """Whether there are several loaders, and each step gets a batch of each."""
        return len(self.combined.flattened) > 1 and self.combined._mode != "sequential"

    def has_unused_iterator(self) -> bool:
        """Whether Lightning knows the number of batches, and has taken none from its iterator yet."""
        return self._fetcher.length is not None and self._fetcher.fetched == 0

    def replace_iterator(self) -> None:
        """Makes a new iterator, of the loaders that are there now."""
        iter(self._fetcher)


def remaining_batches(trainer: Trainer, epoch: int, done: int) -> float:
    """Training batches until the fit reaches its limit of epochs or steps; infinite without such a limit.

    Args:
        trainer: The trainer, in a fit.
        epoch: The epoch that runs or begins, from 0.
        done: Batches of this epoch so far.
    """
    limits = [math.inf]
    if trainer.max_epochs is not None and trainer.max_epochs >= 0:
        epochs = trainer.max_epochs - epoch
        limits.append(epochs * trainer.num_training_batches - done if epochs > 0 else 0.0)  # 0 * inf would be NaN
    if trainer.max_steps >= 0:
        limits.append((trainer.max_steps - trainer.global_step) * trainer.accumulate_grad_batches)
    return max(0.0, min(limits))


def evaluation_batches(trainer: Trainer) -> float:
    """Batches of the validation, test or prediction that runs; infinite if their number is unknown."""
    if trainer.sanity_checking:
        batches: Any = trainer.num_sanity_val_batches
    elif trainer.testing:
        batches = trainer.num_test_batches
    else:
        batches = trainer.num_predict_batches if trainer.predicting else trainer.num_val_batches
    return float(sum(batches) if isinstance(batches, list) else batches)


def max_time_seconds(trainer: Trainer) -> tuple[float, float] | None:
    """The elapsed and the remaining seconds of a fit with a limit of time (`max_time`); None without one."""
    for timer in callbacks_of(trainer, Timer):
        remaining = timer.time_remaining()
        if remaining is not None:
            return timer.time_elapsed(), max(0.0, remaining)
    return None


def metrics_at_hand(trainer: Trainer) -> Mapping[str, Any]:
    """The metrics that Lightning has computed already.

    After an exception `trainer.callback_metrics` could wait for processes that are gone, to compute another one.
    """
    return trainer._logger_connector._callback_metrics
