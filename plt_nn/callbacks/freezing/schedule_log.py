"""What a freezing schedule reports: the table of its phases, when each began, and which will not be reached."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor

from plt_nn.callbacks.freezing.plateau import PlateauWatch
from plt_nn.callbacks.freezing.schedule_plan import SchedulePlan
from plt_nn.callbacks.lightning.callback_order import callbacks_of
from plt_nn.callbacks.lightning.run_logger import run_loggers
from plt_nn.freezing import Phase
from plt_nn.freezing.costs.phase_costs import phase_costs
from plt_nn.freezing.costs.tables import plan_markdown
from plt_nn.freezing.freeze import Flags
from plt_nn.freezing.phases import start_steps
from plt_nn.tracking import tags


def log_plan(trainer: Trainer, pl_module: LightningModule, plan: SchedulePlan, found: Flags, batch: Any) -> None:
    """Logs what each phase trains and costs, as `freezing_plan.md`, to the loggers that store texts.

    Args:
        trainer: The trainer.
        pl_module: The module that it trains.
        plan: What each phase trains.
        found: The module's flags before any freezing.
        batch: A batch of training; if it is a sequence, its first element is taken as the input.
    """
    loggers = run_loggers(trainer)
    if not loggers:
        return
    trainable = {name for name, needs_gradient in found.requires_grad.items() if needs_gradient}
    x = batch[0] if isinstance(batch, Sequence) and batch else batch
    inputs = (torch.empty(x.shape, dtype=x.dtype, device="meta"),) if isinstance(x, Tensor) else None  # not to be read
    costs = phase_costs(plan.phases, plan.stages, pl_module, plan.adapters, trainer.optimizers, inputs, free=trainable)
    for logger in loggers:
        logger.log_text(plan_markdown(costs), tags.PLAN_FILE)


def log_transition(trainer: Trainer, number: int, trains: str) -> None:
    """Tags the run with when a phase began, and what it trains in words."""
    for logger in run_loggers(trainer):
        when = f"epoch {trainer.current_epoch}, step {trainer.global_step}"
        logger.log_tags({f"{tags.PHASE}{number}": f"{when}: trains {trains}"})


def warn_of_phases_not_reached(phases: Sequence[Phase], monitor: str, trainer: Trainer) -> None:
    """Reports phases that begin after the end of training, and warns of those that early stopping prevents.

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
