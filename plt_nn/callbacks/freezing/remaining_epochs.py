"""How many epochs remain before another phase begins."""

import math
from collections.abc import Sequence

from lightning.pytorch import Trainer

from plt_nn.callbacks.freezing.freezing_schedule import FreezingSchedule
from plt_nn.callbacks.lightning.callback_order import callbacks_of
from plt_nn.freezing import Phase
from plt_nn.freezing.phases import start_steps


def remaining_epochs(trainer: Trainer) -> float:
    """Epochs until the present phase or the fit ends, the present one included; infinite if unknown.

    Args:
        trainer: The trainer, in a fit.
    """
    schedules = callbacks_of(trainer, FreezingSchedule)
    following = [phase for schedule in schedules for phase in schedule.phases[(schedule.current or 0) + 1 :]]
    return epochs_left(
        trainer.current_epoch,
        trainer.global_step,
        max(1, math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches))
        if math.isfinite(trainer.num_training_batches)
        else 0,
        trainer.max_epochs if trainer.max_epochs is not None else -1,
        trainer.max_steps,
        following,
    )


def epochs_left(
    epoch: int, step: int, steps_an_epoch: int, max_epochs: int, max_steps: int, following: Sequence[Phase]
) -> float:
    """Epochs until the first of some events, in whole epochs.

    Args:
        epoch: The present epoch, from 0.
        step: Optimizer steps done so far.
        steps_an_epoch: Optimizer steps in an epoch; 0 if unknown.
        max_epochs: Epochs of the fit; -1 for no limit.
        max_steps: Optimizer steps of the fit; -1 for no limit.
        following: The phases to come.
    """
    ends: list[float] = [max_epochs - epoch] if max_epochs >= 0 else []
    steps = [max_steps] if max_steps >= 0 else []
    for phase in following:
        count = start_steps(phase.start)
        if isinstance(phase.start, int):
            ends.append(phase.start - epoch)
        elif count is not None:
            steps.append(count)
    ends += [math.ceil((count - step) / steps_an_epoch) for count in steps if steps_an_epoch]
    return max(1.0, min(ends, default=math.inf))
