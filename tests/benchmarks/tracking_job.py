"""Trains a tiny net under one logger, in a process of its own, and reports its times, losses and run.

Started by tracking.py, for autolog patches Lightning for good. The options are those of `Job`. The net, its samples and
optimizer are those of lesson.py; the loss is logged at every step.
"""

import argparse
import json
import logging
import time
import warnings
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import psutil
import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.loggers import Logger, MLFlowLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from plt_nn import DurableMLFlowLogger, SyntheticRegressionData

NONE, OURS, PEER, AUTOLOG = "none", "plt_nn", "MLFlowLogger", "autolog"
STEPS_AN_EPOCH = 4  # 100 samples in batches of 32


class Net(LightningModule):
    """What one writes by Lightning's documentation; it also keeps its losses, to compare them with what arrives."""

    def __init__(self, pause: float = 0.0) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 20), nn.ReLU(), nn.Linear(20, 10), nn.ReLU(), nn.Linear(10, 1))
        self.pause = pause
        self.losses: list[Tensor] = []

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        loss = nn.functional.mse_loss(self.net(batch[0]), batch[1])
        self.log("train_loss", loss)
        self.losses.append(loss.detach())
        if self.pause:
            time.sleep(self.pause)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


class Clock(Callback):
    """When training began, when each step did, and when training ended.

    Args:
        alive: A file that is touched at every step, for who watches from outside.
    """

    def __init__(self, alive: Path | None = None) -> None:
        self.began = self.ended = time.perf_counter()
        self.work = 0.0  # seconds of processor time that training took in this process
        self.steps: list[float] = []
        self._alive = alive

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.began, self.work = time.perf_counter(), -time.process_time()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int) -> None:
        self.steps.append(time.perf_counter())
        if self._alive is not None:
            self._alive.touch()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.ended, self.work = time.perf_counter(), self.work + time.process_time()

    def longest_gap(self) -> float:
        times = [*self.steps, self.ended]
        return max(later - earlier for earlier, later in pairwise(times))


class Job(argparse.Namespace):
    """What to train, under which logger, and where to report."""

    logger: str
    uri: str  # the database or the server
    store: str  # the folder of plt_nn's store, in which its spool lies
    experiment: str
    epochs: int
    seed: int
    pause: float  # seconds a step
    warm_up: int  # epochs
    alive: Path | None
    report: Path


def fit(job: Job, epochs: int) -> dict[str, object]:
    """Trains, and tells the times in seconds, the losses, and MLflow's id of the run."""
    seed_everything(job.seed, verbose=False)
    module, clock = Net(job.pause), Clock(job.alive)
    data = SyntheticRegressionData()
    data.setup()
    loader = DataLoader(TensorDataset(*data.splits["train"]), 32, shuffle=True)
    with ExitStack() as stack:
        run_id = _autolog(job, stack) if job.logger == AUTOLOG else None
        began = time.perf_counter()
        logger = _logger(job)
        trainer = Trainer(
            accelerator="cpu",
            max_epochs=epochs,
            logger=logger or False,
            log_every_n_steps=1,
            callbacks=[clock],
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
        )
        trainer.fit(module, loader)
        seconds = time.perf_counter() - began
    assert len(clock.steps) == epochs * STEPS_AN_EPOCH
    return {
        "loop": clock.ended - clock.began,
        "work": clock.work,
        "fit": seconds,
        "gap": clock.longest_gap(),
        "losses": [float(loss) for loss in module.losses],
        "run_id": logger.run_id if isinstance(logger, DurableMLFlowLogger | MLFlowLogger) else run_id,
    }


def _logger(job: Job) -> Logger | None:
    if job.logger == OURS:
        return DurableMLFlowLogger(job.experiment, store=job.store, tracking_uri=job.uri)
    return MLFlowLogger(job.experiment, tracking_uri=job.uri) if job.logger == PEER else None


def _autolog(job: Job, stack: ExitStack) -> str:
    """Autolog at its cheapest: metrics at every step; no model, no checkpoints, which the others do not log either."""
    import mlflow

    mlflow.set_tracking_uri(job.uri)
    mlflow.set_experiment(job.experiment)
    mlflow.pytorch.autolog(log_every_n_step=1, log_models=False, checkpoint=False, silent=True)
    return str(stack.enter_context(mlflow.start_run()).info.run_id)


def _parsed() -> Job:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logger", choices=(NONE, OURS, PEER, AUTOLOG), required=True)
    for name in ("--uri", "--store", "--experiment"):
        parser.add_argument(name, required=True)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--warm-up", type=int, default=0)
    parser.add_argument("--alive", type=Path)
    parser.add_argument("--report", type=Path, required=True)
    return parser.parse_args(namespace=Job())


def main() -> None:
    warnings.filterwarnings("ignore")
    for package in ("lightning.pytorch", "pytorch_lightning"):  # autolog brings the other one along
        logging.getLogger(package).setLevel(logging.ERROR)
        logging.getLogger(f"{package}.utilities.rank_zero").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    job = _parsed()
    if job.warm_up:
        fit(job, job.warm_up)
        psutil.wait_procs(psutil.Process().children(), timeout=60)  # the uploader of that fit
    report = fit(job, job.epochs)
    job.report.write_text(json.dumps(report))


if __name__ == "__main__":
    main()
