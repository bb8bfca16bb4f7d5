"""A fit on two processes of which the second is slow, or their sampler; each process writes what its logger was given.

Arguments: a folder for the reports, and where the second process is slow: `step`, `loader`, or `system` for nowhere:
then this process forks both.
Started by test_step_times.py and test_system_metrics.py.
"""

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers.logger import Logger
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from plt_nn.callbacks.telemetry.step_times import StepTimes
from plt_nn.callbacks.telemetry.system_metrics import SystemMetrics

DELAY = 0.15  # seconds per batch: much more than a busy machine takes away from a step
BATCH = 4


class Recording(Logger):
    """Keeps metrics with their steps, and those of machines; all else it lets go."""

    name = "recording"
    version = "0"

    def __init__(self) -> None:
        super().__init__()
        self.metrics: list[dict[str, Any]] = []
        self.samples: list[dict[str, float]] = []

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self.metrics.append({**metrics, "step": step})

    def log_node_metrics(self, metrics: Mapping[str, float], node: int, nodes: int) -> None:
        self.samples.append(dict(metrics))

    def _let_go(self, *args: Any, **kwargs: Any) -> None: ...

    log_hyperparams = log_file = log_text = log_figure = log_dataset = log_model = log_tags = log_note = _let_go
    ui_command = _let_go


class Rows(Dataset[Tensor]):
    """Rows of numbers, read in no time, or slowly by process 1."""

    def __init__(self, slow_on: int | None) -> None:
        self.slow_on = slow_on

    def __len__(self) -> int:
        return 10 * 2 * BATCH

    def __getitem__(self, index: int) -> Tensor:
        if self.slow_on is not None and torch.distributed.get_rank() == self.slow_on:
            time.sleep(DELAY / BATCH)
        return torch.full((8,), float(index))


class Net(LightningModule):
    """A tiny net, whose step is slow on process 1 if it is told so."""

    def __init__(self, folder: Path, slow_on: int | None) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))
        self.folder, self.slow_on = folder, slow_on

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        if self.global_rank == self.slow_on:
            time.sleep(DELAY)
        loss: Tensor = self.net(batch).square().mean()
        return loss

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        time.sleep(0.2)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1e-6)

    def on_fit_end(self) -> None:
        (logger,) = self.trainer.loggers
        assert isinstance(logger, Recording)
        report = {"metrics": logger.metrics, "samples": logger.samples, "rss": psutil.Process().memory_info().rss / 1e6}
        (self.folder / f"rank{self.global_rank}.json").write_text(json.dumps(report))


def main(folder: Path, slow: str) -> None:
    trainer = Trainer(
        accelerator="cpu",
        devices=2,
        strategy="ddp_fork" if slow == "system" else "ddp",
        max_epochs=2,
        val_check_interval=5,
        log_every_n_steps=1,
        logger=Recording(),
        callbacks=[StepTimes(every_n_steps=4), SystemMetrics()],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    net, rows = Net(folder, 1 if slow == "step" else None), Rows(1 if slow == "loader" else None)
    trainer.fit(net, DataLoader(rows, BATCH), DataLoader(Rows(None), 10 * BATCH))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()  # left to the interpreter's end, its threads now and then abort it
