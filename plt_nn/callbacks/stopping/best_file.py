"""The best weights on disk, and with the loggers that store models."""

import json
from pathlib import Path

from lightning.pytorch import Trainer

from plt_nn.callbacks.lightning.run_logger import run_loggers
from plt_nn.callbacks.model.exported_state import exported_state
from plt_nn.callbacks.stopping.best_weights import BestWeights, save_weights
from plt_nn.callbacks.stopping.check_history import CheckHistory


def write_best(trainer: Trainer, weights: BestWeights, path: Path, monitor: str, history: CheckHistory) -> None:
    """Writes the best weights on process 0, under the names that they have outside the fit, and logs the file.

    Args:
        trainer: The trainer; nothing is written in its `fast_dev_run`.
        weights: The best weights.
        path: The file.
        monitor: The metric that chose them.
        history: When they were reached, and with which metrics.
    """
    progress = history.progress
    if progress.best_at is None or not trainer.is_global_zero or getattr(trainer, "fast_dev_run", False):
        return
    epoch, step = progress.best_at.epochs, progress.best_at.steps
    facts = {"monitor": monitor, "value": repr(progress.best), "metrics": json.dumps(history.metrics)}
    state = exported_state(trainer, trainer.lightning_module, weights.state())
    save_weights(state, path, {**facts, "epoch": str(epoch), "step": str(step)})
    for logger in run_loggers(trainer):
        logger.log_model(path, history.metrics, step)
