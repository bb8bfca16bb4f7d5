"""What our callbacks ask of a logger beyond Lightning's own interface."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

from lightning.pytorch import Trainer
from lightning.pytorch.loggers.logger import DummyLogger


@runtime_checkable
class RunLogger(Protocol):
    """A logger that also keeps files and texts with the run; `plt_nn.tracking.EmbeddedMLFlowLogger` is one."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Logs metrics at a step."""

    def log_file(self, path: Path, folder: str | None = None) -> None:
        """Keeps a file with the run, in a folder of its artifacts."""

    def log_text(self, text: str, name: str) -> None:
        """Keeps a text with the run, under a file name."""

    def ui_command(self) -> str:
        """The command that shows the run."""


def run_loggers(trainer: Trainer) -> list[RunLogger]:
    """The trainer's loggers that can keep files; none but on process 0, for one writer is enough."""
    if not trainer.is_global_zero:
        return []
    real = [logger for logger in trainer.loggers if not isinstance(logger, DummyLogger)]  # which answers to any name
    return [logger for logger in real if isinstance(logger, RunLogger)]
