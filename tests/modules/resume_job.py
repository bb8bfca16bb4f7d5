"""A classifier with dropout whose fit is interrupted and resumed; all that it has been ends up in `facts`.

Used by test_resume_mid_epoch.py, in its own process and, run as a script, in two. Arguments of the script: the number
of processes, the folder for checkpoints and facts, the kind of data, then names of checkpoints in the folder, of which
each is resumed.
"""

import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers.logger import DummyLogger
from lightning.pytorch.utilities.exceptions import SIGTERMException
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from plt_nn import MLP, BestLossStopping, Classifier, DigitsData, ImageFolderData, TabularData
from plt_nn.callbacks.resume.step_seeds import StepSeeds

EPOCHS = 3
END_EPOCH, END_BATCH = 1, 2  # where an interrupted fit ends: in mid-epoch, and not where a checkpoint is made anyway


class Rows(DummyLogger):
    """Keeps what is logged on process 0, with the step."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[int, dict[str, float]]] = []

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:  # type: ignore[override]
        self.rows.append((step, dict(metrics)))


class Ends(Callback):
    """Ends the fit in mid-epoch: by SIGTERM to process 0, an error, or Ctrl-C before or after a batch's forward."""

    def __init__(self, how: str) -> None:
        self.how = how

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if (trainer.current_epoch, batch_idx) == (END_EPOCH, END_BATCH):
            if self.how == "sigterm" and trainer.is_global_zero:
                os.kill(os.getpid(), signal.SIGTERM)
            if self.how == "error":
                raise RuntimeError("the job was told to fail")
            if self.how == "ctrl-c before":
                raise KeyboardInterrupt

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        if self.how == "ctrl-c after" and (trainer.current_epoch, trainer.fit_loop.batch_idx) == (END_EPOCH, END_BATCH):
            raise KeyboardInterrupt


def data_of(kind: str, folder: Path, processes: int) -> tuple[LightningDataModule, int, int]:
    """The data, with batches that are the same for any number of processes, the length of an input, and the classes."""
    if kind == "digits":
        return DigitsData(batch_size=100 // processes, layout="flat"), 64, 10
    if kind == "table":
        return TabularData(_table(folder / "table.csv"), "y", batch_size=10 // processes), 3, 2
    root = _pictures(folder / "pictures")
    crop: list[Any] = [v2.RandomCrop(8)]
    return ImageFolderData(root, 6 // processes, image_size=8, augment=crop, num_workers=int(kind[-1])), 192, 2


def fit(
    folder: Path,
    kind: str,
    ckpt: str | None = None,
    end: str | None = None,
    processes: int = 1,
    every: int = 0,
    seeds: bool = True,
    **arguments: Any,
) -> dict[str, Any]:
    """Fits, from a checkpoint or not, to the end or not, and gives all that the run has been.

    Args:
        folder: Where checkpoints are kept.
        kind: The data.
        ckpt: The name of the checkpoint to resume.
        end: How the fit ends before its time; the checkpoint is then named like it.
        processes: Number of processes.
        every: Keep a checkpoint after so many steps, and after each validation; 0 keeps none.
        seeds: Whether to use `StepSeeds`.
        **arguments: Arguments of the trainer.
    """
    seed_everything(1, verbose=False)
    data, inputs, classes = data_of(kind, folder, processes)
    module = Classifier(
        MLP(inputs, [16], classes, dropout=0.3, norm="layer", flatten=True),
        lr_scheduler=lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 60),
        lr_interval="step",
    )
    stopping, logger = BestLossStopping(patience=50, restore=False, dirpath=str(folder / "best")), Rows()
    callbacks: list[Callback] = [stopping] + [StepSeeds()] * seeds
    if end:
        kept = ModelCheckpoint(folder, end, save_on_exception=True, save_top_k=0, enable_version_counter=False)
        callbacks += [Ends(end), kept]
    if every:
        keep: dict[str, Any] = {"dirpath": folder, "save_top_k": -1, "auto_insert_metric_name": False}
        callbacks.append(ModelCheckpoint(filename="step{step}", every_n_train_steps=every, **keep))
        callbacks.append(ModelCheckpoint(filename="val{step}", **keep))
        callbacks.append(ModelCheckpoint(filename="end{step}", save_on_train_epoch_end=True, mode="max", **keep))
    quiet = {"logger": logger, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    settings = {"max_epochs": EPOCHS, "val_check_interval": 0.5, "num_sanity_val_steps": 1, "devices": processes}
    strategy = "ddp" if processes > 1 else "auto"
    trainer = Trainer(
        **{**quiet, **settings, **arguments},
        strategy=strategy,
        callbacks=callbacks,
        enable_checkpointing=bool(end or every),
    )
    try:
        trainer.fit(module, data, ckpt_path=folder / f"{ckpt}.ckpt" if ckpt else None, weights_only=True)
    except (SIGTERMException, SystemExit, RuntimeError):
        assert end
    optimizer: Any = trainer.optimizers[0].state_dict() if trainer.optimizers else None
    return {
        "weights": module.state_dict(),
        "optimizer": optimizer,
        "rows": logger.rows,
        "progress": asdict(stopping.progress),
        "best metrics": stopping.best_metrics,
        "at": (trainer.current_epoch, trainer.global_step),
        "rank": trainer.global_rank,
    }


def _table(path: Path) -> Path:
    if not path.exists():
        numbers = np.random.default_rng(0).normal(size=(100, 3))
        frame = pd.DataFrame(numbers, columns=["a", "b", "c"])
        frame["y"] = (frame["a"] + frame["b"] > 0).astype(int)
        frame.to_csv(path, index=False)
    return path


def _pictures(root: Path) -> Path:
    noise = np.random.default_rng(0)
    for brightness, name in ((100, "dark"), (150, "light")):
        if not (root / name).exists():
            (root / name).mkdir(parents=True)
            for number in range(18):
                pixels = noise.normal(brightness, 50, (12, 12, 3)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(root / name / f"{number}.png")
    return root


if __name__ == "__main__":
    devices, directory, which = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    whole = fit(directory, which, processes=devices, every=1)
    runs = {"whole": whole, **{end: fit(directory, which, end=end, processes=devices) for end in ("sigterm", "error")}}
    for name in sys.argv[4:]:
        runs[f"from {name}"] = fit(directory, which, name, processes=devices)
    torch.save(runs, directory / f"rank{whole['rank']}.pt")
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()  # left to the interpreter's end, its threads now and then abort it
