"""A small job for the callbacks: a net with BatchNorm and dropout, synthetic data, a quiet trainer."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from plt_nn.features.costs import Costs


class Backbone(nn.Module):
    """Three stages and a head, with everything that freezing must hold still."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU())
        self.middle = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2))
        self.last = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU())
        self.head = nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.last(self.middle(self.stem(x))))
        return out


class Stranger(LightningModule):
    """A module that knows nothing of plt_nn: one attribute with a net, one optimizer with a filter, a scheduler."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Backbone()

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        loss = nn.functional.mse_loss(self.model(batch[0]), batch[1])
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("val_loss", nn.functional.mse_loss(self.model(batch[0]), batch[1]))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=0.01)
        return {"optimizer": optimizer, "lr_scheduler": torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)}


def loaders() -> tuple[DataLoader[Any], DataLoader[Any]]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(96, 4, generator=generator)
    y = x.square().sum(1, keepdim=True)
    train, val = TensorDataset(x[:64], y[:64]), TensorDataset(x[64:], y[64:])
    return DataLoader(train, 16), DataLoader(val, 32)


@pytest.fixture
def stranger() -> Callable[[], LightningModule]:
    """Makes the module anew, with the same weights each time."""

    def make() -> LightningModule:
        seed_everything(0, verbose=False)
        return Stranger()

    return make


@pytest.fixture
def fit(tmp_path: Path) -> Callable[..., Trainer]:
    """Fits a module on the synthetic data; keyword arguments go to the trainer."""

    def run(module: LightningModule, ckpt_path: Path | None = None, **arguments: Any) -> Trainer:
        quiet = {"enable_progress_bar": False, "enable_model_summary": False, "log_every_n_steps": 1}
        defaults = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False, "default_root_dir": tmp_path}
        trainer = Trainer(**{**quiet, **defaults, **arguments})
        trainer.fit(module, *loaders(), ckpt_path=ckpt_path)
        return trainer

    return run


@pytest.fixture
def info(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is said to people."""
    lines: list[str] = []
    monkeypatch.setattr("plt_nn.callbacks.feature_cache.frozen_feature_cache.rank_zero_info", lines.append)
    return lines


@pytest.fixture
def caching_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    """The nets of these tests are so small that it hangs on what else the machine has to do whether it would pay."""
    monkeypatch.setattr(Costs, "pays", lambda costs: True)
