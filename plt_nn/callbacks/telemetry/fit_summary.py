"""A short table at the end of a fit, logged with the run."""

import json
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from rich.table import Table

from plt_nn.callbacks.freezing.freezing_schedule import FreezingSchedule
from plt_nn.callbacks.lightning.callback_order import callbacks_of
from plt_nn.callbacks.lightning.run_logger import run_loggers
from plt_nn.callbacks.stopping.best_loss_stopping import BestLossStopping
from plt_nn.tracking import tags


class FitSummary(Callback):
    """Prints the results of a fit when it ends, however it ends, and logs them as `summary.json` and run description.

    They are the best loss and where it was reached, the other metrics there, the phases of a freezing schedule, the
    numbers of parameters, the time, why training stopped, and the command that opens the run in the MLflow UI.
    """

    def __init__(self) -> None:
        self._began = 0.0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock."""
        self._began = time.monotonic()

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException | None = None) -> None:
        """Prints and logs the table."""
        began, self._began = self._began, 0.0
        if not trainer.is_global_zero:
            return
        facts = fit_facts(trainer, pl_module, exception)
        facts["time"] = str(timedelta(seconds=round(time.monotonic() - began)))
        for logger in run_loggers(trainer):
            logger.log_text(json.dumps(facts, indent=2, default=str), tags.SUMMARY_FILE)
            logger.log_note(_markdown(facts))
            facts["open it with"] = logger.ui_command()
        Console().print(_table(facts))

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Prints and logs the table, with the exception as the reason."""
        if self._began and trainer.global_step > 0:  # before the first step there is nothing but the error
            self.on_fit_end(trainer, pl_module, exception)


def fit_facts(trainer: Trainer, pl_module: LightningModule, exception: BaseException | None) -> dict[str, Any]:
    """The results of a fit that has ended, maybe by an exception, by name in the order in which they are printed."""
    facts: dict[str, Any] = {}
    for stopping in callbacks_of(trainer, BestLossStopping):
        facts[f"best {stopping.monitor}"] = stopping.describe_best()
        others = {name: value for name, value in stopping.best_metrics.items() if name != stopping.monitor}
        facts |= {f"{name} there": f"{value:.4g}" for name, value in others.items()}
        facts["best weights"] = _short(stopping.best_path) if stopping.progress.best is not None else "none"
        facts["stopped because"] = stopping.stop_reason
    if facts.get("stopped because") is None:
        facts["stopped because"] = _reason(trainer, exception)
    for schedule in callbacks_of(trainer, FreezingSchedule):
        facts |= schedule.plan.facts() if schedule.plan is not None else {}
    facts["parameters"] = f"{sum(parameter.numel() for parameter in pl_module.parameters()):,}"
    facts["epochs and steps"] = f"{trainer.current_epoch} and {trainer.global_step}"
    versions = [str(logger.version) for logger in trainer.loggers if logger.version is not None]
    return facts | ({"run": ", ".join(versions)} if versions else {})


def _reason(trainer: Trainer, exception: BaseException | None) -> str:
    if isinstance(exception, KeyboardInterrupt):
        return "interrupted from the keyboard"
    if exception is not None:
        return f"{type(exception).__name__}: {exception}".rstrip(": ")
    if trainer.max_epochs is not None and 0 <= trainer.max_epochs <= trainer.current_epoch:
        return f"max_epochs={trainer.max_epochs} reached"
    return "the limit of steps or time was reached, or a callback asked for it"


def _short(path: Path | None) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path is not None and path.is_relative_to(here) else path)


def _markdown(facts: dict[str, Any]) -> str:
    rows = [f"| {name} | {str(value).replace('|', '&#124;')} |" for name, value in facts.items()]
    return "\n".join(["| the fit | |", "| --- | --- |", *rows])


def _table(facts: dict[str, Any]) -> Table:
    table = Table(show_header=False, title="The fit", title_justify="left")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(name, str(value))
    return table
