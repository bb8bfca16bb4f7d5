"""One schedule of phases, told to each library in its own words. Used by freezing.py and freezing_job.py.

Lightning's `BackboneFinetuning` takes one epoch, at which all of the backbone is thawed. It never touches the head's
rate, so the module lowers that with a `MultiStepLR`; the backbone takes the head's rate times
`backbone_initial_ratio_lr`, here 1, and keeps it (`lambda_func`). The optimizer begins with the head alone, as in the
example of its documentation: it leaves the scale and shift of each frozen BatchNorm requiring gradients, and the other
documented way, a filter on `requires_grad`, would train them at the head's rate.

finetuning-scheduler takes, for each phase, regular expressions for what it adds, their rate (`lr`) and its end
(`max_transition_epoch`). What was thawed before keeps its rate, so the same `MultiStepLR` lowers that. By default it
goes back to the best checkpoint at each transition; `restore_best` is off, because neither of the others does that when
the phases begin at epochs. `frozen_bn_track_running_stats` stays on, its default: it decides only whether a frozen
BatchNorm's statistics are updated, not that it normalises by the batch while training.

plt_nn takes the phases, each with a factor on the rate; the module has no scheduler.
"""

import importlib.util
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import BackboneFinetuning
from torch import nn
from torch.nn import Parameter
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, MultiStepLR
from torch.utils.hooks import RemovableHandle

from plt_nn import FreezingSchedule, Phase

LIGHTNING, FTS, OURS = "BackboneFinetuning", "finetuning-scheduler", "plt_nn"
PEERS = (LIGHTNING, FTS, OURS)


@dataclass(frozen=True)
class Stretch:
    """One phase: `train` in plt_nn's words, how the names of the parameters that it adds begin, its first epoch."""

    train: str
    adds: tuple[str, ...]
    start: int = 0


@dataclass(frozen=True)
class Schedule:
    """Phases that all libraries are told: each trains what it adds and all before at `factor` times the rate before."""

    stretches: tuple[Stretch, ...]
    epochs: int
    rate: float
    factor: float

    def ends(self) -> list[int]:
        """The epoch at which each phase has ended."""
        return [stretch.start for stretch in self.stretches[1:]] + [self.epochs]

    def rate_of(self, number: int) -> float:
        """The learning rate of all that is trained in a phase."""
        return self.rate * self.factor**number

    def rates(self, names: Iterable[str], epoch: int) -> dict[str, float]:
        """The learning rate of each parameter that is trained in an epoch."""
        number = max(n for n, stretch in enumerate(self.stretches) if stretch.start <= epoch)
        trained = tuple(beginning for stretch in self.stretches[: number + 1] for beginning in stretch.adds)
        return {name: self.rate_of(number) for name in names if name.startswith(trained)}


class Halves(LightningModule):
    """A backbone and a head, as one writes them for any of the libraries."""

    def __init__(self, backbone: nn.Module, head: nn.Module, optimizer: Callable[[list[Parameter]], Optimizer]) -> None:
        super().__init__()
        self.backbone, self.head, self.optimizer = backbone, head, optimizer
        self.head_alone, self.milestones, self.factor = False, list[int](), 1.0

    def configure_optimizers(self) -> tuple[list[Optimizer], list[LRScheduler]]:
        parameters = (self.head if self.head_alone else self).parameters()
        optimizer = self.optimizer([parameter for parameter in parameters if parameter.requires_grad])
        return [optimizer], [MultiStepLR(optimizer, self.milestones, self.factor)] if self.milestones else []


def missing(who: str, schedule: Schedule) -> str:
    """Why a library cannot take part, or nothing."""
    if who == LIGHTNING and len(schedule.stretches) > 2:
        return "cannot be told"
    if who == FTS and importlib.util.find_spec("finetuning_scheduler") is None:
        return "not installed"
    return ""


def callbacks_of(who: str, schedule: Schedule, module: Halves, folder: Path) -> list[Callback]:
    """The callbacks that freeze and thaw; sets what the module must do beside them."""
    if who == OURS:
        return [
            FreezingSchedule(
                [Phase(s.train, start=s.start, lr_scale=schedule.factor**n) for n, s in enumerate(schedule.stretches)]
            )
        ]
    module.milestones, module.factor = [stretch.start for stretch in schedule.stretches[1:]], schedule.factor
    if who == FTS:
        return _finetuning_scheduler(schedule, folder)
    module.head_alone = True
    start = schedule.stretches[1].start
    return [BackboneFinetuning(start, lambda_func=lambda epoch: 1.0, backbone_initial_ratio_lr=1.0)]


def trainer_arguments(who: str) -> dict[str, Any]:
    """What is the same for all, but that finetuning-scheduler needs its checkpoint callback, which here saves none."""
    return {
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": who == FTS,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
    }


class StepRates(Callback):
    """Notes the learning rate with which each parameter is stepped in each epoch, by the optimizer's groups."""

    def __init__(self) -> None:
        self.seen: dict[int, dict[str, float]] = {}
        self._names: dict[int, str] = {}
        self._hooks: list[RemovableHandle] = []

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._names = {id(parameter): name for name, parameter in pl_module.named_parameters()}
        stepped = self.seen.setdefault(trainer.current_epoch, {})

        def after(optimizer: Optimizer, args: Any, kwargs: Any) -> None:  # the gradients are computed within the step
            for group in optimizer.param_groups:
                stepped.update({self._names[id(p)]: group["lr"] for p in group["params"] if p.grad is not None})

        while self._hooks:
            self._hooks.pop().remove()
        (optimizer,) = trainer.optimizers
        self._hooks = [optimizer.register_step_post_hook(after)]
        hooks: Any = optimizer._optimizer_step_post_hooks  # typed as a plain dict
        hooks.move_to_end(self._hooks[0].id, last=False)  # before whoever gives the rates back after the step

    def check(self, schedule: Schedule, names: list[str]) -> None:
        """Makes sure that just what the schedule says was trained, at just its rates."""
        assert sorted(self.seen) == list(range(schedule.epochs)), f"trained in the epochs {sorted(self.seen)}"
        for epoch, seen in self.seen.items():
            agreed = schedule.rates(names, epoch)
            other = sorted(seen.keys() ^ agreed.keys())
            assert not other, f"epoch {epoch} steps or leaves {len(other)} parameters against the schedule: {other[:5]}"
            wrong = {name: rate for name, rate in seen.items() if abs(rate / agreed[name] - 1) > 1e-9}
            assert not wrong, f"epoch {epoch} has other learning rates than agreed: {list(wrong.items())[:5]}"


def _finetuning_scheduler(schedule: Schedule, folder: Path) -> list[Callback]:
    from finetuning_scheduler import FinetuningScheduler, FTSCheckpoint

    ends = schedule.ends()
    assert all(one < other for one, other in pairwise(ends))
    phases = {
        number: {
            "params": [f"{beginning.replace('.', '[.]')}.*" for beginning in stretch.adds],
            "max_transition_epoch": ends[number],
            **({"lr": schedule.rate_of(number)} if number else {}),
        }
        for number, stretch in enumerate(schedule.stretches)
    }
    scheduler = FinetuningScheduler(
        ft_schedule=phases,
        epoch_transitions_only=True,
        restore_best=False,
        logging_level=logging.ERROR,
        log_dir=str(folder),
    )
    return [scheduler, FTSCheckpoint(dirpath=folder, monitor="val_loss", save_top_k=0)]
