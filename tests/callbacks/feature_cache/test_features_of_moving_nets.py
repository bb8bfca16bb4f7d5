"""Frozen parts that something moves: the fit is the one without features, step by step."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor, nn
from torch.utils.data import DataLoader

from tests.callbacks.feature_cache.cached_fits import Computed, cache
from tests.callbacks.feature_cache.small_nets import Batch, Net, Trained, losses, samples

pytestmark = pytest.mark.usefixtures("caching_pays")


class Teacher(LightningModule):
    """A student and the average of it that it is compared with, which moves at every step."""

    lr, is_counted = 0.3, True

    def __init__(self) -> None:
        super().__init__()
        self.student = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
        self.teacher = deepcopy(self.student).requires_grad_(False).eval()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        scores = self.student(batch[0])
        distance: Tensor = scores - self.teacher(batch[0])
        return F.cross_entropy(scores, batch[1]) + distance.square().mean()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.log("val_loss", F.cross_entropy(self.teacher(batch[0]), batch[1]))

    def on_train_batch_end(self, *arguments: Any) -> None:
        with torch.no_grad():
            for mean, weight in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
                (mean if self.is_counted else mean.data).mul_(0.9).add_(weight, alpha=0.1)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.student.parameters(), lr=self.lr)


class HiddenTeacher(Teacher):
    is_counted = False


class FasterTeacher(Teacher):
    lr = 0.5


class FasterHiddenTeacher(HiddenTeacher):
    lr = 0.5


@pytest.mark.parametrize(("first", "second"), [(Teacher, FasterTeacher), (HiddenTeacher, FasterHiddenTeacher)])
def test_a_frozen_net_that_somebody_moves(
    first: type[Teacher], second: type[Teacher], tmp_path: Path, info: list[str]
) -> None:
    assert losses(first, cache(tmp_path)) == losses(first, None)
    assert any("are not cached: something else changes what is frozen" in line for line in info)
    assert losses(second, cache(tmp_path)) == losses(second, None), "nothing wrong has been left in the folder"


class FrozenLate(Trained):
    """Trains its body for an epoch, and then no more."""

    def __init__(self) -> None:
        super().__init__(Net().requires_grad_(True))

    def on_train_epoch_start(self) -> None:
        self.net.body.requires_grad_(self.current_epoch < 1)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.3)


def test_weights_that_are_swapped_for_their_average_in_validation(tmp_path: Path) -> None:
    def average() -> Callback:
        return WeightAveraging(avg_fn=lambda mean, weight, count: 0.9 * mean + 0.1 * weight)

    assert losses(FrozenLate, cache(tmp_path), average()) == losses(FrozenLate, None, average())


class Anneals(Callback):
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        pl_module.net.temperature = 1.0 + trainer.current_epoch  # type: ignore[union-attr]


def test_a_number_that_changes_from_epoch_to_epoch(tmp_path: Path) -> None:
    with Computed() as computed:
        found = losses(Trained, cache(tmp_path), Anneals())
    assert found == losses(Trained, None, Anneals())
    assert computed.samples > 0


class Hears(Trained):
    """Registers a hook in the frozen part when an epoch begins."""

    def __init__(self) -> None:
        super().__init__()
        self.heard = 0

    def on_train_epoch_start(self) -> None:
        if self.current_epoch == 1:
            self.net.body.register_forward_hook(self._hear)  # type: ignore[union-attr]

    def _hear(self, *arguments: Any) -> None:
        self.heard += 1


def test_a_hook_that_comes_late_is_heard(tmp_path: Path) -> None:
    module = Hears()
    losses(lambda: module, cache(tmp_path))
    assert module.heard >= 3 * (5 + 3)


class Reloads(Trained):
    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(samples(), 8, shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(samples(), 16)


def test_loaders_that_are_made_anew(tmp_path: Path) -> None:
    with Computed() as computed:
        found = losses(Reloads, cache(tmp_path), reload=1)
    assert found == losses(Reloads, None, reload=1)
    assert computed.samples == 40 + 1


class Notes(nn.Linear):
    """A frozen layer that notes what it has seen."""

    def forward(self, x: Tensor) -> Tensor:
        self.passes = getattr(self, "passes", 0) + 1
        return super().forward(x)


class Noting(Net):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(Notes(4, 16), nn.ReLU(), nn.Linear(16, 16)).requires_grad_(False).eval()
        self.epoch, self.best, self.seen = 0, float("nan"), None


class MaskCrosses(Net):
    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        x = self.body(x)
        y: Tensor = self.head(x).where(x[:, :3] > 0, 0.5)
        return y


class Sets(Callback):
    """Sets what nobody reads, at every step, and gives another attribute a value of another kind."""

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *arguments: Any) -> None:
        net: Any = pl_module.net
        net.epoch, net.seen = trainer.global_step, np.ones(3)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for part in pl_module.net.body:  # type: ignore[union-attr]
            part.eval()


class WritesAgain(Callback):
    """Writes the weights that are there once more."""

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        pl_module.load_state_dict(deepcopy(pl_module.state_dict()))


@pytest.mark.parametrize("reuse", [True, False])
@pytest.mark.parametrize(("net", "callback"), [(Noting, Sets), (Net, WritesAgain), (MaskCrosses, WritesAgain)])
def test_what_changes_nothing_costs_nothing(
    net: type[Net], callback: type[Callback], reuse: bool, tmp_path: Path
) -> None:
    with Computed() as computed:
        found = losses(lambda: Trained(net()), cache(tmp_path, reuse=reuse), callback())
    assert found == losses(lambda: Trained(net()), None, callback())
    assert 41 <= computed.samples <= 82, "each sample once, or once for each loader"
