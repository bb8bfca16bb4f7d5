"""Fits with a learning rate of 0 and reports what the modules logged; run alone it stands for one process, by
test_two_processes.py for two.

Arguments: the number of processes, the folder for the reports.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer, seed_everything

from plt_nn import MLP, Classifier, DigitsData, Regressor, SyntheticRegressionData

CLASS_WEIGHTS = [0.1, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5]


def held_still(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.0)


def report(processes: int) -> dict[str, dict[str, float]]:
    """The logged metrics of a classifier and a regressor, whose weights stay as the seed made them."""
    seed_everything(0, verbose=False)
    classifier = Classifier(MLP(64, [16], 10), optimizer=held_still, class_weights=CLASS_WEIGHTS, label_smoothing=0.1)
    regressor = Regressor(MLP(2, [8], 1), loss="huber", optimizer=held_still)
    # 1,438 digits and 100 values to train on make even shares; 359 and 101 to validate do not, and no batches are even.
    digits = DigitsData(batch_size=50, layout="flat")
    values = SyntheticRegressionData(samples=100, val_samples=101, batch_size=16)
    return {
        "classifier": _logged(classifier, digits, processes),
        "regressor": _logged(regressor, values, processes),
    }


def _logged(module: LightningModule, data: LightningDataModule, processes: int) -> dict[str, float]:
    trainer = Trainer(
        accelerator="cpu",
        devices=processes,
        strategy="ddp" if processes > 1 else "auto",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, data)
    return {name: float(value) for name, value in trainer.callback_metrics.items()} | {"rank": trainer.global_rank}


if __name__ == "__main__":
    reports = report(int(sys.argv[1]))
    rank = int(reports["classifier"]["rank"])
    (Path(sys.argv[2]) / f"rank{rank}.json").write_text(json.dumps(reports))
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()  # left to the interpreter's end, its threads now and then abort it
