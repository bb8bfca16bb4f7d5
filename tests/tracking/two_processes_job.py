"""Fits on two gloo processes and writes what each knows of the run. Started by test_two_processes.py.

Arguments: the strategy, a folder for the store and the reports, the number of machines that share the two processes.
"""

import json
import sys
from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from plt_nn import MLP, BestLossStopping, DurableMLFlowLogger, Regressor, SyntheticRegressionData
from plt_nn.callbacks import SystemMetrics


class Report(Callback):
    """Writes what this process knows, and logs from every process, as a careless user would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        (logger,) = trainer.loggers
        assert isinstance(logger, DurableMLFlowLogger)
        logger.log_metrics({"by_hand": 1.0}, step=0)
        logger.experiment.log_tags({"by_hand": "yes"})
        checkpoint = trainer.checkpoint_callback
        assert isinstance(checkpoint, ModelCheckpoint)
        report = {"uid": logger.version, "checkpoints": checkpoint.dirpath, "log_dir": trainer.log_dir}
        (self.folder / f"rank{trainer.global_rank}.json").write_text(json.dumps(report))


def main(strategy: str, folder: Path, nodes: int) -> None:
    logger = DurableMLFlowLogger("two", store=str(folder / "mlruns"), flush_seconds=300)
    trainer = Trainer(
        accelerator="cpu",
        devices=2 // nodes,
        num_nodes=nodes,
        strategy=strategy,
        max_epochs=2,
        logger=logger,
        callbacks=[Report(folder), BestLossStopping(), SystemMetrics()],
        log_every_n_steps=1,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Regressor(MLP(2, [4], 1)), SyntheticRegressionData(samples=40, batch_size=8))
    if trainer.is_global_zero:
        (folder / "main.json").write_text(json.dumps({"uid": logger.version, "run_id": logger.run_id}))
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()  # left to the interpreter's end, its threads now and then abort it


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
