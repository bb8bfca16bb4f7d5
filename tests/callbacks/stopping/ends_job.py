"""A fit that ends as it is told, in one or two processes; each process then reports the loss of its weights.

Arguments: how it ends (several, by commas, in one process one after the other), the number of processes, the folder of
the MLflow store, the folder for the reports. Started by test_every_end.py.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from safetensors.torch import load_file

from plt_nn import (
    MLP,
    BestLossStopping,
    DurableMLFlowLogger,
    FreezingSchedule,
    Phase,
    Regressor,
    SyntheticRegressionData,
)

BEST_EPOCH, END_EPOCH = 2, 4


class Ends(Callback):
    """Makes epoch 2 the best by spoiling the weights after it, and ends the fit in epoch 4 as it is told."""

    def __init__(self, end: str) -> None:
        self.end = end

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if trainer.current_epoch > BEST_EPOCH:
            with torch.no_grad():
                for parameter in pl_module.parameters():
                    parameter.add_(0.1)
        if trainer.current_epoch == END_EPOCH and batch_idx == 1:
            if self.end == "exception":
                raise RuntimeError("the job was told to fail")
            if self.end == "ctrl-c":
                os.kill(os.getpid(), signal.SIGINT)
            if self.end == "sigterm" and trainer.is_global_zero:
                os.kill(os.getpid(), signal.SIGTERM)


def loss_of(module: Regressor, data: SyntheticRegressionData) -> float:
    x, y = data.splits["val"]
    module.eval()
    with torch.no_grad():
        return float(torch.nn.functional.mse_loss(module(x), y))


def fit_and_report(end: str, devices: int, store: str, folder: Path) -> None:
    seed_everything(0)
    stopping = BestLossStopping(patience=2 if end == "patience" else 100)
    checkpoint = ModelCheckpoint(filename="last", save_on_exception=True, enable_version_counter=False)
    schedule = FreezingSchedule([Phase("head"), Phase("last 1 stage", start=1), Phase("all", start=2, norm="train")])
    logger = DurableMLFlowLogger("ends", store=store, flush_seconds=0)  # the test waits for delivery
    trainer = Trainer(
        accelerator="cpu",
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        max_epochs=END_EPOCH + 1 if end == "max_epochs" else 20,
        logger=logger,
        callbacks=[stopping, schedule, Ends(end), checkpoint],
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
    )
    module = Regressor(MLP(2, [16, 8], 1, norm="batch"), optimizer=lambda p: torch.optim.SGD(p, lr=0.05))
    data = SyntheticRegressionData(batch_size=16 // devices)
    try:
        trainer.fit(module, data)
    except (RuntimeError, SystemExit) as error:
        ended = type(error).__name__
        # Process 0 watches the others, and kills itself when one has gone: after Ctrl-C it has killed them itself.
        getattr(trainer.strategy.launcher, "procs", []).clear()
    else:
        ended = "finished"
    last = torch.load(checkpoint.best_model_path, weights_only=True) if trainer.is_global_zero else None
    report = {
        "ended": ended,
        "epoch": trainer.current_epoch,
        "best": stopping.progress.best,
        "best_at": stopping.state_dict()["progress"]["best_at"],
        "in memory": loss_of(module, data),
        "requires_grad": all(parameter.requires_grad for parameter in module.parameters()),
    }
    if trainer.is_global_zero:
        assert stopping.best_path is not None
        module.load_state_dict(load_file(stopping.best_path))
        report["on disk"] = loss_of(module, data)
        report["weights"], report["uid"] = str(stopping.best_path), logger.uid
        assert last is not None
        module.load_state_dict(last["state_dict"])
        report["last"] = loss_of(module, data)
    (folder / f"{end}-{devices}-rank{trainer.global_rank}.json").write_text(json.dumps(report))


if __name__ == "__main__":
    for each_end in sys.argv[1].split(","):
        fit_and_report(each_end, int(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))
        signal.signal(signal.SIGINT, signal.default_int_handler)  # Lightning ignores Ctrl-C after the first
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()  # left to the interpreter's end, its threads now and then abort it
