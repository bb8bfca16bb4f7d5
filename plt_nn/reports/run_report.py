"""The report of a run, logged with the run."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn

from plt_nn.callbacks import ValidationFigures
from plt_nn.callbacks.lightning.callback_order import callback_of, sort_callbacks
from plt_nn.errors import ConfigError
from plt_nn.tracking import DurableMLFlowLogger, tags


class RunReport(Callback):
    """Logs `report.html` when a fit ends, however it ends: one page about the run, which the MLflow UI shows.

    Its learning curves hold every point that was logged, with the phases of a `FreezingSchedule` shaded; it shows the
    learning rate of each stage, the confusion matrix and the most wrong images of the best validation (if there is a
    `ValidationFigures` among the callbacks), speed and machine, and the parameters. It is made on process 0 from what
    the logger has on disk, without a network; what fails is a warning, and never ends a fit. A run that is killed has
    none: `plt-nn compare EXPERIMENT --html report.html` shows it all the same.

    It needs a `DurableMLFlowLogger`; without one nothing is done.

    Args:
        enabled: False: no report, as where `plt-nn fit` would make it by default.
    """

    def __init__(self, enabled: bool = True) -> None:
        self.enabled = enabled
        self._is_due = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Takes its place behind the callbacks that show something, but before those that write checkpoints."""
        sort_callbacks(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """From here on there is something to report."""
        self._is_due = True

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Makes the report."""
        self._report(trainer, "FINISHED")

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Makes the report of what was logged until then."""
        self._report(trainer, "KILLED" if isinstance(exception, KeyboardInterrupt | SystemExit) else "FAILED")

    def _report(self, trainer: Trainer, status: str) -> None:
        is_due, self._is_due = self._is_due and self.enabled, False
        if not is_due or not trainer.is_global_zero:
            return
        figures = callback_of(trainer, ValidationFigures)
        for logger in trainer.loggers:
            if isinstance(logger, DurableMLFlowLogger):
                _log_report(logger, status, figures.facts if figures is not None else None)


def _log_report(logger: DurableMLFlowLogger, status: str, facts: dict[str, Any] | None) -> None:
    try:
        from plt_nn.reports.write import report_of_spool

        text = report_of_spool(logger.spool_folder, status, facts or {})
    except ConfigError:  # the run has no metric of which it is known what is better
        return
    except Exception as error:  # noqa: BLE001  # the fit is more important than a page about it
        rank_zero_warn(f"report.html could not be made: {type(error).__name__}: {error}")
        return
    if text is not None:
        logger.log_text(text, tags.REPORT_FILE)
