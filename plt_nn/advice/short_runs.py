"""Ranks architectures by short runs, from few epochs for all to many for the better ones."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from lightning.pytorch import LightningModule, seed_everything
from scipy.stats import binomtest
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from plt_nn.advice.architectures import Architecture
from plt_nn.advice.probes.halving import better_half, rungs
from plt_nn.advice.probes.probe import Floats, is_above_zero, stratified_folds
from plt_nn.advice.trial_trainers import trial_trainer
from plt_nn.callbacks import BestLossStopping
from plt_nn.errors import PltNNError
from plt_nn.modules import Classifier, Regressor
from plt_nn.text import one_line

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
        epochs: The number of epochs that it was trained.
        seconds: The time that this took.
        in_last_round: Whether it was trained for the most epochs.
    """

    architecture: Architecture
    losses: Floats
    score: float
    interval: tuple[float, float] | None
    parameters: int
    epochs: int
    seconds: float
    in_last_round: bool = False

    @property
    def loss(self) -> float:
        """The mean loss."""
        return float(self.losses.mean())


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
        The results, the best first: those of the last round, then those that were dropped earlier. And sentences that
        say what was not finished.
    """
    began = time.monotonic()
    strata = y.numpy() if classes is not None else np.zeros(len(y), dtype=np.int64)
    held_out = torch.from_numpy(stratified_folds(strata, most=4) == 0)
    seen, unseen = (x[~held_out], y[~held_out]), (x[held_out], y[held_out])
    left, found, unfinished = list(architectures), dict[Architecture, Tried](), list[str]()
    for number in rungs(epochs, _FIRST_EPOCHS, most=float("inf")) if len(left) > 1 else [epochs]:

        def train(one: Architecture, number: int = number) -> Tried:
            say(f"{one}: {number} epochs")
            return _train(one, seen, unseen, classes, batch_size, number)

        done, late, failed = _round(left, train, lambda: time.monotonic() - began > budget)
        unfinished += failed + [f"{one}: not trained for {number} epochs, for the time was over." for one in late]
        if late and found:
            unfinished.append(f"The round of {number} epochs was not finished: the order is that of the round before.")
            break
        found |= done
        if late or not done:
            break
        left = _better(done)
    longest = max((tried.epochs for tried in found.values()), default=0)
    ranked = [replace(tried, in_last_round=tried.epochs == longest) for tried in found.values()]
    return sorted(ranked, key=lambda tried: (-tried.epochs, tried.loss)), unfinished


def _round(
    architectures: Sequence[Architecture], train: Callable[[Architecture], Tried], is_over: Callable[[], bool]
) -> tuple[dict[Architecture, Tried], list[Architecture], list[str]]:
    """The results, the architectures for which there was no time, and why the others failed."""
    done, failed = dict[Architecture, Tried](), list[str]()
    for at, one in enumerate(architectures):
        if is_over():
            return done, list(architectures[at:]), failed
        try:
            done[one] = train(one)
        except (PltNNError, RuntimeError, ValueError) as error:  # the others go on
            failed.append(f"{one}: {one_line(error)}")
    return done, [], failed


def _better(done: dict[Architecture, Tried]) -> list[Architecture]:
    """The architectures of the next round."""
    losses = {one: tried.losses for one, tried in done.items()}
    means = {one: tried.loss for one, tried in done.items()}
    return better_half(means, lambda one, best: is_above_zero(losses[one] - losses[best]))


def _train(
    architecture: Architecture,
    seen: tuple[Tensor, Tensor],
    unseen: tuple[Tensor, Tensor],
    classes: int | None,
    batch_size: int,
    epochs: int,
) -> Tried:
    began = time.monotonic()
    seed_everything(0, verbose=False)
    net = architecture.build()

    def optimizer(parameters: object) -> torch.optim.Optimizer:
        return torch.optim.AdamW(parameters, lr=architecture.lr)  # type: ignore[arg-type]

    module: LightningModule = Classifier(net, classes, optimizer) if classes else Regressor(net, optimizer=optimizer)
    training = DataLoader(TensorDataset(*seen), batch_size, shuffle=True)
    validation = DataLoader(TensorDataset(*unseen), 4096)
    stopping = BestLossStopping(monitor="val_loss", patience=epochs)
    with trial_trainer("cpu", epochs, [stopping]) as trainer:  # nets this small are no faster on a GPU
        trainer.fit(module, training, validation)
    with torch.no_grad():
        outputs = net.eval()(unseen[0]).double()
    losses, score, interval = _measured(outputs, unseen[1], classes is not None)
    parameters = sum(parameter.numel() for parameter in net.parameters())
    return Tried(architecture, losses, score, interval, parameters, epochs, time.monotonic() - began)


def _measured(outputs: Tensor, y: Tensor, is_classes: bool) -> tuple[Floats, float, tuple[float, float] | None]:
    if is_classes:
        losses = torch.nn.functional.cross_entropy(outputs, y, reduction="none")
        right = int((outputs.argmax(1) == y).sum())
        found = binomtest(right, len(y)).proportion_ci(0.95, "wilson")
        return losses.numpy(), right / len(y), (float(found.low), float(found.high))
    errors = (outputs - y.double()).square().mean(1)
    spread = (y.double() - y.double().mean(0)).square().mean()
    return errors.numpy(), float(1 - errors.mean() / spread.clamp_min(1e-30)), None
