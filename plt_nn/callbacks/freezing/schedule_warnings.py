"""What a schedule says at the start of a fit about phases that will not come."""

from collections.abc import Iterator, Sequence

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from plt_nn.callbacks.freezing.plateau_watch import PlateauWatch
from plt_nn.callbacks.lightning.callback_order import callbacks_of
from plt_nn.freezing import Phase, start_steps


def warn_of_phases_not_reached(phases: Sequence[Phase], monitor: str, trainer: Trainer) -> None:
    """Tells of phases that begin after the end of training, and warns of those that early stopping comes before.

    Args:
        phases: The phases in order.
        monitor: The metric whose plateau they wait for.
        trainer: The trainer of the fit.
    """
    for number, phase in enumerate(phases):
        for reason in _too_late(phase, trainer):
            rank_zero_info(f"Phase {number} of the freezing schedule will not be reached: {reason}.")
        for reason in _stopped_before(phase, monitor, trainer):
            rank_zero_warn(f"Phase {number} of the freezing schedule will not be reached on a plateau: {reason}.")


def _too_late(phase: Phase, trainer: Trainer) -> Iterator[str]:
    steps = start_steps(phase.start)
    if isinstance(phase.start, int) and trainer.max_epochs is not None and 0 <= trainer.max_epochs <= phase.start:
        yield f"it starts at epoch {phase.start}, and training ends after {trainer.max_epochs} epochs"
    if steps is not None and 0 <= trainer.max_steps <= steps:
        yield f"it starts at step {steps}, and training ends after {trainer.max_steps} steps"


def _stopped_before(phase: Phase, monitor: str, trainer: Trainer) -> Iterator[str]:
    for callback in callbacks_of(trainer, EarlyStopping):
        if isinstance(callback, PlateauWatch) or not phase.on_plateau:
            continue
        counts_checks = getattr(callback, "unit", "checks") != "steps"
        if callback.monitor == monitor and counts_checks and callback.patience <= phase.checks:
            yield (
                f"it waits for {phase.checks} checks without improvement of {monitor}, and {type(callback).__name__} "
                f"stops after {callback.patience}; give that more patience"
            )
