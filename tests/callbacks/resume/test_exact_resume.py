"""A resumed run goes through the hooks that the whole run would have gone through, and logs at the same steps."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from plt_nn.callbacks.resume.exact_resume import ExactResume


class Module(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        loss: Tensor = self.layer(batch[0]).square().mean()
        return loss

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("val_loss", self.layer(batch[0]).square().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Events(Callback):
    """What happens, with the epoch, the optimizer step and the step of the loggers."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int, int, int]] = []

    def note(self, what: str, trainer: Trainer) -> None:
        stepped = trainer.fit_loop.epoch_loop._batches_that_stepped
        self.seen.append((what, trainer.current_epoch, trainer.global_step, stepped))

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.note("epoch", trainer)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.note(f"batch {batch_idx}", trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.note("validation", trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.note("end", trainer)


@pytest.mark.parametrize("limits", [{"max_epochs": 3}, {"max_epochs": -1, "max_steps": 11}], ids=str)
@pytest.mark.parametrize("validation", [{"val_check_interval": 2}, {"limit_val_batches": 0}], ids=str)
@pytest.mark.parametrize("accumulate", [1, 2])
def test_from_every_checkpoint(
    tmp_path: Path, limits: dict[str, Any], validation: dict[str, Any], accumulate: int
) -> None:
    keep: dict[str, Any] = {"dirpath": tmp_path, "save_top_k": -1, "auto_insert_metric_name": False}

    def fit(ckpt: Path | None = None) -> list[tuple[str, int, int, int]]:
        torch.manual_seed(0)
        events = Events()
        callbacks = [
            ExactResume(),
            events,
            ModelCheckpoint(filename="step{step}", every_n_train_steps=1, **keep),
            ModelCheckpoint(filename="val{step}", every_n_epochs=1, save_on_train_epoch_end=False, **keep),
            ModelCheckpoint(filename="end{step}", save_on_train_epoch_end=True, mode="max", **keep),
        ]
        quiet: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
        trainer = Trainer(
            accelerator="cpu",
            num_sanity_val_steps=0,
            accumulate_grad_batches=accumulate,
            callbacks=callbacks,
            **quiet,
            **limits,
            **validation,
        )
        x = TensorDataset(torch.randn(8, 2))
        trainer.fit(Module(), DataLoader(x, 2), DataLoader(x, 4), ckpt_path=ckpt, weights_only=True)
        return events.seen

    whole = fit()
    ended = whole[-1][2]
    checkpoints = [path for path in sorted(tmp_path.glob("*.ckpt")) if int(path.stem.strip("stepvalnd")) < ended]
    assert len(checkpoints) >= 6
    for checkpoint in checkpoints:
        resumed = fit(checkpoint)
        assert resumed == whole[len(whole) - len(resumed) :], checkpoint.stem
        assert resumed[0][2] == int(checkpoint.stem.strip("stepvalnd")), checkpoint.stem
