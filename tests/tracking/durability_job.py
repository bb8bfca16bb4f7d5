"""A fit that logs its loss at every step, and what its process has connected to. Started by tests here.

Its loss and its rows are the same in every call. `SlowSteps` also serves `plt-nn fit` as a callback.
"""

import argparse
import resource
import sys
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.utils.data import DataLoader, TensorDataset

from plt_nn import DurableMLFlowLogger


class SlowSteps(Callback):
    """Logs the loss of every step as `step_loss`, and takes its time for each; ends the fit once a file is there."""

    def __init__(self, seconds: float = 0.0, stop: Path | None = None) -> None:
        self.seconds, self.stop = seconds, stop

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, outputs: Any, *_: Any) -> None:
        for logger in trainer.loggers:
            logger.log_metrics({"step_loss": float(outputs["loss"])}, step=trainer.global_step)
        time.sleep(self.seconds)
        if self.stop is not None and self.stop.exists():
            trainer.should_stop = True


class Line(LightningModule):
    """A straight line; its loss falls at every step."""

    def __init__(self) -> None:
        super().__init__()
        self.net = torch.nn.Linear(1, 1)

    def training_step(self, batch: list[torch.Tensor]) -> torch.Tensor:
        return torch.nn.functional.mse_loss(self.net(batch[0]), batch[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--store")
    parser.add_argument("--uri")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=0.02, help="for each step")
    parser.add_argument("--stop", type=Path, help="a file whose presence ends the fit")
    parser.add_argument("--flush", type=float, default=30.0)
    parser.add_argument("--room", type=int, help="bytes of the largest file that this process may write")
    given = parser.parse_args()
    if given.room is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (given.room, given.room))
    connections: list[object] = []  # of this process; the uploaders are others
    sys.addaudithook(lambda event, args: connections.append(args[1]) if event == "socket.connect" else None)
    fit(given.store, given.uri, given.steps, given.flush, SlowSteps(given.seconds, given.stop))
    print(f"connected to {connections or 'nobody'}", flush=True)


def fit(store: str, uri: str | None, steps: int, flush: float, slow: SlowSteps) -> None:
    """Fits a line, and logs the loss of each step."""
    torch.manual_seed(0)
    logger = DurableMLFlowLogger("durable", store=store, tracking_uri=uri, flush_seconds=flush)
    Trainer(
        accelerator="cpu",
        max_steps=steps,
        logger=logger,
        callbacks=[slow],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(Line(), DataLoader(TensorDataset(torch.linspace(0, 1, 10)[:, None])))


if __name__ == "__main__":
    main()
