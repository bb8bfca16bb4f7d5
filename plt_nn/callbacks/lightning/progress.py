"""How far a trainer is: batches that remain, limits of time, metrics that can be read without waiting."""

import math
from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Timer

from plt_nn.callbacks.lightning.callback_order import callbacks_of


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
