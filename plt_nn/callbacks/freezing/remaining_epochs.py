"""How many epochs remain before another phase begins."""

import math

from lightning.pytorch import Trainer

from plt_nn.callbacks.freezing.freezing_schedule import FreezingSchedule
from plt_nn.callbacks.lightning.callback_order import callbacks_of
from plt_nn.freezing.phases import start_steps


def remaining_epochs(trainer: Trainer) -> float:
    """Epochs until the present phase or the fit ends, the present one included; infinite if unknown."""
    epochs = [trainer.max_epochs] if trainer.max_epochs is not None and trainer.max_epochs >= 0 else []
    steps = [trainer.max_steps] if trainer.max_steps >= 0 else []
    for schedule in callbacks_of(trainer, FreezingSchedule):
        for phase in schedule.phases[(schedule.current or 0) + 1 :]:
            count = start_steps(phase.start)
            if isinstance(phase.start, int):
                epochs.append(phase.start)
            elif count is not None:
                steps.append(count)
    ends: list[float] = [epoch - trainer.current_epoch for epoch in epochs]
    if math.isfinite(trainer.num_training_batches):
        steps_an_epoch = max(1, math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches))
        ends += [math.ceil((step - trainer.global_step) / steps_an_epoch) for step in steps]
    return max(1.0, min(ends, default=math.inf))
