"""Fits digits with the figures and the data set inputs; run alone it stands for two processes, by the tests for one.

Arguments: the folder for the reports, the names of the scenarios.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.loggers.logger import Logger
from torch import Tensor

from plt_nn import BestLossStopping, Classifier, ConvNet, DigitsData
from plt_nn.callbacks import DatasetInputs, ValidationFigures

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class RecordingLogger(Logger):
    """Remembers what it is given; draws the figures on request, as a logger that stores them would."""

    def __init__(self, draws: bool = False) -> None:
        super().__init__()
        self.draws = draws
        self.figures: dict[str, Figure] = {}
        self.datasets: list[tuple[str, str, str, str, Mapping[str, Any]]] = []

    @property
    def name(self) -> str:
        return "recorded"

    @property
    def version(self) -> str:
        return "0"

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None: ...

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None: ...

    def log_node_metrics(self, metrics: Mapping[str, float], node: int, nodes: int) -> None: ...

    def log_file(self, path: Path, folder: str | None = None) -> None: ...

    def log_text(self, text: str, name: str) -> None: ...

    def log_figure(self, figure: "Figure", name: str) -> None:
        assert name not in self.figures, f"{name} is logged twice"
        self.figures[name] = figure
        if self.draws:
            figure.canvas.draw()

    def log_dataset(self, name: str, context: str, digest: str, source: str, profile: Mapping[str, Any]) -> None:
        json.dumps(profile)
        self.datasets.append((name, context, digest, source, profile))

    def log_model(self, path: Path, metrics: Mapping[str, float], step: int) -> None: ...

    def log_tags(self, tags: Mapping[str, str]) -> None: ...

    def log_note(self, markdown: str) -> None: ...

    def ui_command(self) -> str:
        return ""


def held_still(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.0)


class Silent(Classifier):
    """A classifier whose validation says nothing on some of the processes."""

    silent_ranks: tuple[int, ...] = ()

    def validation_step(self, batch: object, batch_idx: int) -> dict[str, Tensor | None]:
        outputs = super().validation_step(batch, batch_idx)
        return {} if self.global_rank in self.silent_ranks else outputs


def fit(folder: Path, processes: int, silent_ranks: tuple[int, ...] = (), **arguments: Any) -> Trainer:
    """A fit in which nothing is learnt, so that one process and two see the same."""
    seed_everything(0, verbose=False)
    # Without a BatchNorm, whose statistics depend on how many processes share a batch.
    module = Silent(ConvNet(1, [4, 8], 10, norm=None), optimizer=held_still)
    module.silent_ranks = silent_ranks
    figures, stopping = ValidationFigures(worst=9), BestLossStopping(patience=9, dirpath=str(folder))
    defaults: dict[str, Any] = {
        "accelerator": "cpu",
        "devices": processes,
        "strategy": "ddp" if processes > 1 else "auto",
        "logger": RecordingLogger(),
        "max_epochs": 1,
        "limit_train_batches": 1,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "default_root_dir": folder,
    }
    trainer = Trainer(**defaults | arguments, callbacks=[figures, stopping, DatasetInputs()])
    trainer.fit(module, DigitsData(batch_size=50))
    return trainer


def shown(trainer: Trainer) -> dict[str, Any]:
    """The state of the figures' callback, and what was logged."""
    (callback,) = [c for c in callbacks_of(trainer) if isinstance(c, ValidationFigures)]
    loggers = [logger for logger in trainer.loggers if isinstance(logger, RecordingLogger)]
    return callback.state_dict() | {
        "figures": [name for logger in loggers for name in sorted(logger.figures)],
        "datasets": [dataset for logger in loggers for dataset in logger.datasets],
    }


def callbacks_of(trainer: Trainer) -> list[Callback]:
    found: list[Callback] = getattr(trainer, "callbacks", [])
    return found


SCENARIOS: dict[str, dict[str, Any]] = {
    "both": {},
    "one": {"silent_ranks": (0,)},
    "other": {"silent_ranks": (1,)},
    "none": {"silent_ranks": (0, 1)},
    "no logger": {"logger": False},
    "one logger": {},  # some give a logger to process 0 alone: the others must take part all the same
}


def main(folder: Path, names: list[str]) -> None:
    rank = 0
    for name in names:
        arguments = {"logger": False} if name == "one logger" and rank else SCENARIOS[name]
        trainer = fit(folder / name, 2, **arguments)
        rank = trainer.global_rank  # which is known only when the processes have been started by a first fit
        torch.save(shown(trainer), folder / f"{name} {rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
    torch.distributed.destroy_process_group()  # left to the interpreter's end, its threads now and then abort it
