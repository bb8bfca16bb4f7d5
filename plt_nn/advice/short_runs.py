"""Ranks architectures by short runs, from few epochs for all to many for the better ones."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from lightning.pytorch import LightningModule, seed_everything
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from plt_nn.advice.architectures import Architecture
from plt_nn.advice.halving import halving, rungs
from plt_nn.advice.probes.probe import Floats, is_above_zero, stratified_folds, wilson_interval
from plt_nn.advice.trial_trainers import trial_trainer
from plt_nn.callbacks import BestLossStopping
from plt_nn.modules import Classifier, Regressor

_FIRST_EPOCHS = 4


@dataclass(frozen=True)
class Tried:
    """The result of an architecture on samples that it was not trained on.

    Args:
        architecture: The architecture.
        losses: The loss of each held-out sample: cross-entropy in nats, or squared error.
        score: Accuracy, or the coefficient of determination.
        interval: Of the accuracy, at 95 % (Wilson); None for regression.
        parameters: Number of parameters.
        size: The number of epochs that it was trained.
        seconds: The time that this took.
    """

    architecture: Architecture
    losses: Floats
    score: float
    interval: tuple[float, float] | None
    parameters: int
    size: int
    seconds: float

    @property
    def loss(self) -> float:
        """The mean loss."""
        return float(self.losses.mean())

    def is_worse(self, other: "Tried") -> bool:
        """Whether it is significantly worse than another one on the same samples."""
        return is_above_zero(self.losses - other.losses)


def rank_architectures(
    architectures: Sequence[Architecture],
    x: Tensor,
    y: Tensor,
    classes: int | None,
    batch_size: int = 32,
    epochs: int = 32,
    budget: float = float("inf"),
    say: Callable[[str], None] = lambda told: None,
) -> tuple[list[Tried], list[str]]:
    """Ranks architectures on training samples, a quarter of which is held out.

    Args:
        architectures: The candidates.
        x: The training inputs `(N, ...)`.
        y: Their targets: class codes `(N,)`, or values `(N, T)`.
        classes: Number of classes; None for regression.
        batch_size: Samples per step.
        epochs: Maximum number of epochs in the last round.
        budget: Seconds after which nothing new begins.
        say: Called with what is being done.

    Returns:
        As `halving` returns them: the results, and what failed or was not finished.
    """
    began = time.monotonic()
    strata = y.numpy() if classes is not None else np.zeros(len(y), dtype=np.int64)
    held_out = torch.from_numpy(stratified_folds(strata, most=4) == 0)
    seen, unseen = TensorDataset(x[~held_out], y[~held_out]), TensorDataset(x[held_out], y[held_out])

    def judge(one: Architecture, size: int, earlier: Tried | None) -> Tried:
        say(f"{one}: {size} epochs")
        return _train(one, seen, unseen, classes, batch_size, size)

    sizes = rungs(epochs, _FIRST_EPOCHS, most=float("inf"))
    return halving(architectures, sizes, judge, lambda: time.monotonic() - began > budget, "for {} epochs")


def _train(
    architecture: Architecture,
    seen: TensorDataset,
    unseen: TensorDataset,
    classes: int | None,
    batch_size: int,
    epochs: int,
) -> Tried:
    began = time.monotonic()
    seed_everything(0, verbose=False)
    net = architecture.net(**architecture.init_args)

    def optimizer(parameters: object) -> torch.optim.Optimizer:
        return torch.optim.AdamW(parameters, lr=architecture.lr)  # type: ignore[arg-type]

    module: LightningModule = Classifier(net, classes, optimizer) if classes else Regressor(net, optimizer=optimizer)
    stopping = BestLossStopping(monitor="val_loss", patience=epochs)
    with trial_trainer("cpu", epochs, [stopping]) as trainer:  # nets this small are no faster on a GPU
        trainer.fit(module, DataLoader(seen, batch_size, shuffle=True), DataLoader(unseen, 4096))
    x, y = unseen.tensors
    with torch.no_grad():
        outputs = net.eval()(x).double()
    losses, score, interval = _measured(outputs, y, classes is not None)
    parameters = sum(parameter.numel() for parameter in net.parameters())
    return Tried(architecture, losses, score, interval, parameters, epochs, time.monotonic() - began)


def _measured(outputs: Tensor, y: Tensor, is_classes: bool) -> tuple[Floats, float, tuple[float, float] | None]:
    if is_classes:
        losses = torch.nn.functional.cross_entropy(outputs, y, reduction="none")
        right = (outputs.argmax(1) == y).numpy()
        return losses.numpy(), float(right.mean()), wilson_interval(right)
    errors = (outputs - y.double()).square().mean(1)
    spread = (y.double() - y.double().mean(0)).square().mean()
    return errors.numpy(), float(1 - errors.mean() / spread.clamp_min(1e-30)), None
