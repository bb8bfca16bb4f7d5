"""Code of a user's own that features could be wrong for: the fit is the one without them, step by step."""

import random
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from plt_nn import FrozenFeatureCache
from tests.callbacks.cached_fits import Computed, History, cache

pytestmark = pytest.mark.usefixtures("keeping_pays")

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
    keeps: FrozenFeatureCache | None,
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
        callbacks=[history, *callbacks, *([keeps] if keeps else [])],
    )
    module = make()
    if reload:
        trainer.fit(module)
    else:
        trainer.fit(module, DataLoader(samples(), 8, shuffle=True), DataLoader(samples(), 16))
    return history.losses


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
    assert any("are not kept: something else changes what is frozen" in line for line in info)
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


class ByKeyword(Trained):
    def scores(self, x: Tensor) -> Tensor:
        scores: Tensor = self.net(x=x)
        return scores


class WithMask(Trained):
    def scores(self, x: Tensor) -> Tensor:
        scores: Tensor = self.net(x, torch.ones(16))
        return scores


class UnderAutocast(Trained):
    def scores(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return super().scores(x)


class KeywordsAlone(Net):
    def forward(self, *, x: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x)


def test_arguments_by_keyword_alone(tmp_path: Path) -> None:
    found = losses(lambda: ByKeyword(KeywordsAlone()), cache(tmp_path))
    assert found == losses(lambda: ByKeyword(KeywordsAlone()), None)


def test_optional_arguments_and_arguments_by_keyword(tmp_path: Path) -> None:
    for number, kind in enumerate((Trained, ByKeyword)):
        with Computed() as computed:
            found = losses(kind, cache(tmp_path / str(number)))
        assert found == losses(kind, None)
        assert computed.samples == 40 + 1, "each sample once, and one alone; those of the validation are the same"


@pytest.mark.parametrize(
    ("kind", "precision", "why"),
    [
        (WithMask, "32-true", "the net is given more than the inputs"),
        (Trained, "bf16-true", "the training step changes the inputs before the net gets them"),
    ],
)
def test_what_the_net_is_given_besides(
    kind: type[Trained], precision: str, why: str, tmp_path: Path, info: list[str]
) -> None:
    assert losses(kind, cache(tmp_path), precision=precision) == losses(kind, None, precision=precision)
    assert any(why in line for line in info)


def test_features_of_one_autocast_are_not_those_of_another(tmp_path: Path, info: list[str]) -> None:
    assert losses(UnderAutocast, cache(tmp_path)) == losses(UnderAutocast, None)
    assert losses(Trained, cache(tmp_path)) == losses(Trained, None)
    assert any("computed under another autocast" in line for line in info)


class ReturnsItsFeatures(Net):
    """What crosses cannot be written to a file."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        found = torch.max(self.body(x).unflatten(1, (4, 4)), 2)  # a named tuple of torch's own
        y: Tensor = self.head(self.body(x)) + found.values.sum()
        return y


class Wrong(Net):
    """Gives something else when it is looked at a second time."""

    def __init__(self) -> None:
        super().__init__()
        self.passes = [0]

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        y: Tensor = self.head(self.body(x)) * self.factor()
        return y

    def factor(self) -> float:
        return 1.0 if isinstance(self.body, nn.Sequential) and torch.is_tensor(self.head.weight) and _is_real() else 2.0


def _is_real() -> bool:
    """Whether nobody traces."""
    return not any("tracing" in frame.filename for frame in __import__("inspect").stack())


@pytest.mark.parametrize("net", [ReturnsItsFeatures, Wrong])
def test_parts_that_are_not_the_net_are_not_used(net: type[Net], tmp_path: Path, info: list[str]) -> None:
    assert losses(lambda: Trained(net()), cache(tmp_path)) == losses(lambda: Trained(net()), None)
    if net is Wrong:
        assert any("do not give what the net gives" in line for line in info)


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


class DecidesByChance(Net):
    def __init__(self, draw: Callable[[], float]) -> None:
        super().__init__()
        self.draw = draw

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        factor = 0.5 if self.training and self.draw() < 0.5 else 1.0
        y: Tensor = self.head(self.body(x) * factor)
        return y


class HeadOfChance(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * (1 + np.random.rand()) * (1 + random.random())


@pytest.mark.parametrize("draw", [random.random, np.random.rand, lambda: float(torch.rand(()))])
def test_chance_in_the_code_of_a_net(draw: Callable[[], float], tmp_path: Path, info: list[str]) -> None:
    assert losses(lambda: Trained(DecidesByChance(draw)), cache(tmp_path)) == losses(
        lambda: Trained(DecidesByChance(draw)), None
    )
    assert any("decides by random numbers what its forward pass does" in line for line in info)


def test_chance_in_what_is_trained(tmp_path: Path) -> None:
    def make() -> Trained:
        net = Net()
        net.head = HeadOfChance(16, 3)
        return Trained(net)

    with Computed() as computed:
        assert losses(make, cache(tmp_path)) == losses(make, None)
    assert computed.samples == 41
