"""The table of a schedule's phases and when each began, kept with the run."""

from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from plt_nn.callbacks.freezing.schedule_plan import SchedulePlan
from plt_nn.callbacks.lightning.run_logger import run_loggers
from plt_nn.freezing import Condition
from plt_nn.freezing.costs.phase_costs import phase_costs
from plt_nn.freezing.costs.tables import plan_markdown
from plt_nn.tracking import tags


def log_plan(trainer: Trainer, pl_module: LightningModule, plan: SchedulePlan, found: Condition, batch: Any) -> None:
    """Logs what each phase trains and costs, as `freezing_plan.md`, to the loggers that keep texts.

    Args:
        trainer: The trainer.
        pl_module: The module that it trains.
        plan: What each phase trains.
        found: The module's condition before any freezing.
        batch: A batch of training; if it is a sequence, its first element is taken as the input.
    """
    loggers = run_loggers(trainer)
    if not loggers:
        return
    needed = {name for name, needs_gradient in found.requires_grad.items() if needs_gradient}
    trained = [names & needed for names in plan.trained]
    x = batch[0] if isinstance(batch, Sequence) and batch else batch
    inputs = (torch.empty(x.shape, dtype=x.dtype, device="meta"),) if isinstance(x, Tensor) else None  # not to be read
    text = plan_markdown(phase_costs(plan.phases, plan.stages, pl_module, trained, trainer.optimizers, inputs))
    for logger in loggers:
        logger.log_text(text, tags.PLAN_FILE)


def log_transition(trainer: Trainer, number: int, trains: str) -> None:
    """Tags the run with when a phase began.

    Args:
        trainer: The trainer.
        number: The phase, from 0.
        trains: What it trains, in words.
    """
    for logger in run_loggers(trainer):
        when = f"epoch {trainer.current_epoch}, step {trainer.global_step}"
        logger.log_tags({f"{tags.PHASE}{number}": f"{when}: trains {trains}"})
