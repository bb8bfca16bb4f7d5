"""A small net of a user's own of which a part is frozen, and what a fit of it comes to."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from plt_nn import FrozenFeatureCache
from tests.callbacks.feature_cache.cached_fits import History

Batch = list[Tensor]


class Net(nn.Module):
    """A frozen body and a head that is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 16)).requires_grad_(False)
        self.head = nn.Linear(16, 3)
        self.temperature = 1.0

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        x = self.body(x)
        if mask is not None:
            x = x * mask
        y: Tensor = self.head(x) / self.temperature
        return y


class Trained(LightningModule):
    """Trains such a net, and calls it in a way that subclasses change."""

    def __init__(self, net: nn.Module | None = None) -> None:
        super().__init__()
        self.net = net or Net()

    def scores(self, x: Tensor) -> Tensor:
        scores: Tensor = self.net(x)
        return scores

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return F.cross_entropy(self.scores(batch[0]).float(), batch[1])

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.log("val_loss", self.training_step(batch, batch_idx))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD((p for p in self.parameters() if p.requires_grad), lr=0.3)


def samples() -> TensorDataset:
    generator = torch.Generator().manual_seed(0)
    return TensorDataset(torch.randn(40, 4, generator=generator), torch.randint(0, 3, (40,), generator=generator))


def losses(
    make: Callable[[], LightningModule],
    cache: FrozenFeatureCache | None,
    *callbacks: Callback,
    precision: Any = "32-true",
    reload: int = 0,
) -> list[float]:
    """Those of each step and each validation of a fit."""
    seed_everything(0, verbose=False)
    history = History()
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=4,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        precision=precision,
        reload_dataloaders_every_n_epochs=reload,
        callbacks=[history, *callbacks, *([cache] if cache else [])],
    )
    module = make()
    if reload:
        trainer.fit(module)
    else:
        trainer.fit(module, DataLoader(samples(), 8, shuffle=True), DataLoader(samples(), 16))
    return history.losses
