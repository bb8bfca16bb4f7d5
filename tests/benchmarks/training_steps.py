"""What makes a training step faster where nothing is frozen, and how much of it waits for the loader.

Run: python tests/benchmarks/training_steps.py [--photos FOLDER] [--nets timm/tf_efficientnet_lite0 ...] [--size 224]
     [--batch 32] [--workers 2] [--epochs 3] [--accelerator auto] [--ways plain channels_last ...]

Photographs (ants and bees), augmented as `plt-nn fit` does by default, nets with random weights, AdamW. Each way is a
fit of its own through `Trainer`; its first epoch pays for what is made once (workers, compiling, decoding) and is not
counted. The median of the others is given, as `StepTimes` logs it. On a GPU, whose steps are waited for at the end of
an epoch only, the loader's share is what the GPU goes without work for want of images.
"""

import argparse
import contextlib
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.loggers.logger import DummyLogger
from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

from plt_nn import Classifier, ImageFolderData, create_backbone
from plt_nn.callbacks import ChannelsLast, CompileNet, StepTimes

if TYPE_CHECKING:
    from tests.benchmarks.freezing import PHOTOS
else:  # a script finds its neighbours by their bare names
    from freezing import PHOTOS


@dataclass(frozen=True)
class Way:
    """How a net is trained: what the trainer, its callbacks and the data module are told."""

    callbacks: tuple[Any, ...] = ()
    trainer: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)


BF16, MEMORY = {"precision": "bf16-mixed"}, {"keep_decoded": "memory"}
WAYS = {
    "plain": Way(),
    "decoded once": Way(data=MEMORY),
    "channels_last": Way((ChannelsLast,), data=MEMORY),
    "compiled": Way((CompileNet,), data=MEMORY),
    "bf16": Way((), BF16, MEMORY),
    "bf16, channels_last": Way((ChannelsLast,), BF16, MEMORY),
    "bf16, channels_last, compiled": Way((ChannelsLast, CompileNet), BF16, MEMORY),
}


class Steps(DummyLogger):
    """Keeps what `StepTimes` logs."""

    def __init__(self) -> None:
        super().__init__()
        self.metrics: list[dict[str, float]] = []

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """Keeps the metrics of an epoch."""
        if "perf/step_ms_mean" in metrics:
            self.metrics.append(dict(metrics))


def fit(name: str, way: Way, arguments: argparse.Namespace) -> tuple[list[dict[str, float]], float]:
    """What each epoch but the first was like, and the seconds of the whole fit."""
    seed_everything(0, verbose=False)
    data = ImageFolderData(
        arguments.photos.absolute(), arguments.batch, arguments.size, num_workers=arguments.workers, **way.data
    )
    data.setup("fit")
    module = Classifier(create_backbone(name, pretrained=False, num_classes=data.num_classes))
    steps, began = Steps(), time.perf_counter()
    trainer = Trainer(
        accelerator=arguments.accelerator,
        devices=1,
        max_epochs=1 + arguments.epochs,
        limit_val_batches=0,
        logger=steps,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[StepTimes(every_n_steps=10**6), *(callback() for callback in way.callbacks)],
        **way.trainer,
    )
    trainer.fit(module, data.train_dataloader())
    return steps.metrics[1:], time.perf_counter() - began


def compare(name: str, arguments: argparse.Namespace) -> Table:
    """A row for each way."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() and arguments.accelerator != "cpu" else "CPU"
    title = f"{name}, {arguments.size} px, batches of {arguments.batch}, {arguments.workers} workers, {device}"
    columns = ("ms a step", f"ratio to {arguments.ways[0]}", "waits for the loader", "images a second", "s of the fit")
    table, first = Table("", *columns, title=title, box=MARKDOWN), None
    for way in arguments.ways:
        epochs, seconds = fit(name, WAYS[way], arguments)
        step, wait, rate = (
            statistics.median(epoch[f"perf/{metric}"] for epoch in epochs)
            for metric in ("step_ms_mean", "data_wait_ms_mean", "samples_per_second")
        )
        first = first or step
        table.add_row(way, f"{step:.0f}", f"{step / first:.2f}", f"{wait / step:.0%}", f"{rate:.0f}", f"{seconds:.0f}")
    return table


def main() -> None:
    """Prints a table for each net."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, default=PHOTOS)
    parser.add_argument("--nets", nargs="+", default=["timm/tf_efficientnet_lite0", "timm/resnet50"])
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--accelerator", default="auto")
    parser.add_argument("--ways", nargs="+", choices=[*WAYS], default=[*WAYS])
    arguments = parser.parse_args()
    for logger in ("lightning.pytorch", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    for name in arguments.nets:
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            table = compare(name, arguments)
        Console(width=140).print(table)


if __name__ == "__main__":
    main()
