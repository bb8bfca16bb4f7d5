"""What our callbacks need of a logger beyond Lightning's own interface, and the folder of the run's checkpoints."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from lightning.pytorch import Trainer
from lightning.pytorch.loggers.logger import DummyLogger

from plt_nn.tracking import tags

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@runtime_checkable
class RunLogger(Protocol):
    """A logger that also stores files, figures, data sets and models; `DurableMLFlowLogger` is one."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Logs metrics at a step."""

    def log_node_metrics(self, metrics: Mapping[str, float], node: int, nodes: int) -> None:
        """Logs metrics of a machine, on any process of it: `utilisation` becomes `system/utilisation`."""

    def log_file(self, path: Path, folder: str | None = None) -> None:
        """Stores a copy of a file with the run, in a folder of its artifacts."""

    def log_text(self, text: str, name: str) -> None:
        """Stores a text with the run, under a file name."""

    def log_figure(self, figure: "Figure", name: str) -> None:
        """Stores a figure with the run, under a file name such as `figures/confusion_matrix.png`."""

    def log_dataset(self, name: str, context: str, digest: str, source: str, profile: Mapping[str, Any]) -> None:
        """Logs which data the run has used: a digest of its content, where it is, and facts about it."""

    def log_model(self, path: Path, metrics: Mapping[str, float], step: int) -> None:
        """Logs the file of the best weights so far; its content at the end of the run becomes the run's model."""

    def log_tags(self, tags: Mapping[str, str]) -> None:
        """Sets tags of the run."""

    def log_note(self, markdown: str) -> None:
        """Puts a text under the run's description."""

    def ui_command(self) -> str:
        """The command that shows the run."""


def run_loggers(trainer: Trainer) -> list[RunLogger]:
    """The trainer's loggers that can store files; none on other processes than process 0."""
    return node_loggers(trainer) if trainer.is_global_zero else []


def node_loggers(trainer: Trainer) -> list[RunLogger]:
    """The trainer's loggers that can store metrics of a machine, on every process."""
    real = [logger for logger in trainer.loggers if not isinstance(logger, DummyLogger)]  # which answers to any name
    return [logger for logger in real if isinstance(logger, RunLogger)]


def run_folder(trainer: Trainer, chosen: str | None = None) -> Path:
    """The folder for the run's checkpoints, as process 0 sees it.

    Args:
        trainer: The trainer of the run.
        chosen: A folder that the user chose. Default: `checkpoints` in the first logger's folder for this run, or in
            the trainer's `default_root_dir` without a logger.
    """
    folder = Path(chosen) if chosen else _default_folder(trainer)
    return Path(trainer.strategy.broadcast(str(folder.absolute())))


def _default_folder(trainer: Trainer) -> Path:
    for logger in trainer.loggers:
        if logger.save_dir is not None and logger.name is not None and logger.version is not None:
            version = logger.version if isinstance(logger.version, str) else f"version_{logger.version}"
            return Path(logger.save_dir) / logger.name / version / tags.CHECKPOINTS
    return Path(trainer.default_root_dir) / tags.CHECKPOINTS
