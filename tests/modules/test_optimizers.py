"""Any torch optimizer and scheduler, and no weight decay where it does harm."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.cli import ReduceLROnPlateau
from torch import Tensor, nn
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader

from plt_nn import Classifier
from plt_nn.modules.optimizers import optimizer_and_scheduler

Make = Callable[..., Trainer]
Load = Callable[..., DataLoader[tuple[Tensor, ...]]]


@pytest.fixture
def net() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))


@pytest.fixture
def batches(loader: Load) -> DataLoader[tuple[Tensor, ...]]:
    """Four batches."""
    generator = torch.Generator().manual_seed(0)
    return loader(torch.randn(32, 4, generator=generator), torch.arange(32) % 3, batch_size=8)


def lrs(trainer: Trainer) -> list[float]:
    return [group["lr"] for group in trainer.optimizers[0].param_groups]


@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.SGD], ids=lambda kind: kind.__name__)
def test_vectors_are_not_decayed(kind: Any, net: nn.Module) -> None:
    net[0].weight.requires_grad = False  # type: ignore[index]
    made: Any = optimizer_and_scheduler(net, lambda p: kind(p, lr=0.1, weight_decay=0.3), None, "epoch")
    decay = {id(parameter): group["weight_decay"] for group in made.param_groups for parameter in group["params"]}
    assert sum(len(group["params"]) for group in made.param_groups) == len(decay) == len(list(net.parameters()))
    assert {name: decay[id(parameter)] for name, parameter in net.named_parameters()} == {
        "0.weight": 0.3,  # frozen now, but a schedule may thaw it
        "0.bias": 0.0,
        "1.weight": 0.0,
        "1.bias": 0.0,
        "3.weight": 0.3,
        "3.bias": 0.0,
    }


OPTIMIZERS: list[Any] = [
    torch.optim.Adadelta,
    torch.optim.Adafactor,
    torch.optim.Adagrad,
    torch.optim.Adam,
    torch.optim.AdamW,
    torch.optim.Adamax,
    torch.optim.ASGD,
    torch.optim.LBFGS,
    torch.optim.NAdam,
    torch.optim.RAdam,
    torch.optim.RMSprop,
    torch.optim.Rprop,
    torch.optim.SGD,
]


@pytest.mark.parametrize("kind", OPTIMIZERS, ids=lambda kind: kind.__name__)
def test_any_optimizer_trains(kind: Any, net: nn.Module, batches: Any, trainer: Make) -> None:
    before = {name: parameter.detach().clone() for name, parameter in net.named_parameters()}
    trainer().fit(Classifier(net, optimizer=lambda p: kind(p, lr=0.1)), batches)
    still = [name for name, parameter in net.named_parameters() if parameter.equal(before[name])]
    assert still in ([], ["0.bias"]), "a bias before a norm has no gradient; all else moves"


@pytest.mark.parametrize(("interval", "halvings"), [("epoch", 3), ("step", 12)])
def test_a_scheduler_steps_by_epochs_or_steps(
    interval: Any, halvings: int, net: nn.Module, batches: Any, trainer: Make
) -> None:
    module = Classifier(
        net,
        optimizer=lambda p: torch.optim.AdamW(p, lr=0.1),
        lr_scheduler=lambda optimizer: lr_scheduler.ExponentialLR(optimizer, 0.5),
        lr_interval=interval,
    )
    fitter = trainer(max_epochs=3)
    fitter.fit(module, batches)
    assert len(lrs(fitter)) == 2, "decayed and not decayed"
    assert lrs(fitter) == pytest.approx([0.1 * 0.5**halvings] * 2)


def test_a_scheduler_that_waits_for_a_plateau(batches: Any, trainer: Make) -> None:
    module = Classifier(
        nn.Linear(4, 3),
        optimizer=lambda p: torch.optim.AdamW(p, lr=1e-30),
        lr_scheduler=lambda optimizer: ReduceLROnPlateau(optimizer, monitor="val_loss", factor=0.1, patience=0, eps=0),
    )
    fitter = trainer(max_epochs=3)
    fitter.fit(module, batches, batches)
    assert lrs(fitter) == pytest.approx([1e-32] * 2, rel=1e-6, abs=0), (
        "nothing moves, so two of three epochs are no better"
    )
