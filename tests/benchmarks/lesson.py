"""The lesson's worked example: a raw PyTorch loop, a plain LightningModule and plt_nn, in turn on the same samples.

Run: python tests/benchmarks/lesson.py [--seeds 5] [--epochs 1000]

Prints the median time per training step as a ratio to the raw loop's, once for training alone and once with a
validation after every epoch, and the best validation MSE of each seed. Only plt_nn keeps
the weights of the best, in memory and on disk.
"""

import argparse
import copy
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from plt_nn import MLP, BestLossStopping, DurableMLFlowLogger, Regressor, SyntheticRegressionData
from plt_nn.data import Batch

BATCH, RATE = 32, 0.01
STEPS_AN_EPOCH = 4  # 100 samples in batches of 32


def samples() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    data = SyntheticRegressionData()
    data.setup()
    return *data.splits["train"], *data.splits["val"]


def raw(seed: int, epochs: int, validate: bool) -> float:
    """The lesson's loop, with batches gathered by index."""
    seed_everything(seed, verbose=False)
    x, y, val_x, val_y = samples()
    net = nn.Sequential(nn.Linear(2, 20), nn.ReLU(), nn.Linear(20, 10), nn.ReLU(), nn.Linear(10, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE)
    best = float("inf")
    for _ in range(epochs):
        order = torch.randperm(len(x))
        for batch_x, batch_y in zip(torch.split(x[order], BATCH), torch.split(y[order], BATCH), strict=True):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(net(batch_x), batch_y)
            torch.autograd.backward(loss)
            optimizer.step()
        if validate:
            with torch.no_grad():
                best = min(best, float(nn.functional.mse_loss(net(val_x), val_y)))
    return best


class Plain(LightningModule):
    """What one writes by Lightning's documentation."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 20), nn.ReLU(), nn.Linear(20, 10), nn.ReLU(), nn.Linear(10, 1))
        self.best = float("inf")

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        loss = nn.functional.mse_loss(self.net(batch[0]), batch[1])
        self.log("train_loss", loss, on_epoch=True)
        return loss

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("val_loss", nn.functional.mse_loss(self.net(batch[0]), batch[1]))

    def on_validation_epoch_end(self) -> None:
        self.best = min(self.best, float(self.trainer.callback_metrics.get("val_loss", float("inf"))))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=RATE)


def quiet_trainer(epochs: int, validate: bool, **arguments: Any) -> Trainer:
    return Trainer(
        limit_val_batches=1.0 if validate else 0,
        accelerator="cpu",
        max_epochs=epochs,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        **arguments,
    )


def plain(seed: int, epochs: int, validate: bool) -> float:
    """A plain LightningModule with `self.log(on_epoch=True)` and DataLoaders, without a logger."""
    seed_everything(seed, verbose=False)
    x, y, val_x, val_y = samples()
    module = Plain()
    train = DataLoader(TensorDataset(x, y), BATCH, shuffle=True)
    val = DataLoader(TensorDataset(val_x, val_y), len(val_x))
    quiet_trainer(epochs, validate, logger=False).fit(module, train, val)
    return module.best


class Bare(Plain):
    """The same without logging: what Lightning's loop itself costs."""

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:  # type: ignore[override]  # another loader
        return nn.functional.mse_loss(self.net(batch.x), batch.y)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:  # type: ignore[override]
        self.best = min(self.best, float(nn.functional.mse_loss(self.net(batch.x), batch.y)))


def bare(seed: int, epochs: int, validate: bool) -> float:
    """A LightningModule that logs nothing, on plt_nn's batches in memory: the floor of Lightning."""
    seed_everything(seed, verbose=False)
    module = Bare()
    quiet_trainer(epochs, validate, logger=False).fit(module, SyntheticRegressionData(batch_size=BATCH))
    return module.best


def ours(seed: int, epochs: int, validate: bool, store: str | None = None) -> float:
    """plt_nn's module, data and early stopping; with a store also its MLflow logger."""
    seed_everything(seed, verbose=False)
    stopping = BestLossStopping(patience=epochs, dirpath=FOLDER.name)
    module = Regressor(MLP(2, [20, 10], 1), optimizer=lambda p: torch.optim.SGD(p, lr=RATE))
    logger = DurableMLFlowLogger("lesson", store=store) if store else False
    callbacks = [stopping] if validate else []
    trainer = quiet_trainer(epochs, validate, logger=logger, callbacks=callbacks, log_every_n_steps=STEPS_AN_EPOCH)
    trainer.fit(module, SyntheticRegressionData(batch_size=BATCH))
    return stopping.progress.best or float("inf")


FOLDER = tempfile.TemporaryDirectory()  # one store for all runs, as a user has it
CONTENDERS: dict[str, Callable[[int, int, bool], float]] = {
    "raw loop": raw,
    "plain LightningModule, DataLoader": plain,
    "bare LightningModule, no logging, batches in memory": bare,
    "plt_nn": ours,
    "plt_nn with MLflow": lambda seed, epochs, validate: ours(seed, epochs, validate, f"{FOLDER.name}/mlruns"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=1000)
    arguments = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    for validate in (False, True):
        for contender in CONTENDERS.values():
            contender(0, 3, validate)  # warm-up: imports, the database's first use
        best: dict[str, list[float]] = {name: [] for name in CONTENDERS}
        seconds = copy.deepcopy(best)
        for seed in range(arguments.seeds):
            for name, contender in CONTENDERS.items():
                began = time.perf_counter()
                best[name].append(contender(seed, arguments.epochs, validate))
                seconds[name].append(time.perf_counter() - began)
        show(best if validate else {}, seconds, arguments.epochs)


def show(best: dict[str, list[float]], seconds: dict[str, list[float]], epochs: int) -> None:
    what = "a validation each" if best else "no validation"
    table = Table(title=f"{epochs} epochs of {STEPS_AN_EPOCH} steps, {what}")
    for column in ("", "us a step", "ratio to the raw loop: median (min-max)", "best val MSE of each seed", "mean"):
        table.add_column(column)
    for name, times in seconds.items():
        ratios = [mine / raw_s for mine, raw_s in zip(times, seconds["raw loop"], strict=True)]
        step = statistics.median(times) / (epochs * STEPS_AN_EPOCH) * 1e6
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
        reached = best.get(name, [])
        mean = f"{statistics.mean(reached):.3f}" if reached else ""
        table.add_row(name, f"{step:.0f}", spread, " ".join(f"{value:.3f}" for value in reached), mean)
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
