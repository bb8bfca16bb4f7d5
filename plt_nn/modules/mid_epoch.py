"""Saves an epoch's training means in checkpoints that are made in the middle of it."""

import sys
from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor

from plt_nn.modules.epoch_mean import EpochMean

_KEY = "epoch_means"


def save_means(module: LightningModule, checkpoint: dict[str, Any]) -> None:
    """Adds the sums of a module's `EpochMean`s on each process to a checkpoint, for `on_save_checkpoint`."""
    progress: Any = module.trainer.fit_loop.epoch_loop.batch_progress.current
    mine = {name: mean.sums(progress.processed) for name, mean in means_of(module).items()}
    checkpoint[_KEY] = {"epoch": module.current_epoch, "processes": _of_all_processes(mine, module.trainer)}


def load_means(module: LightningModule, checkpoint: Mapping[str, Any]) -> None:
    """Restores the sums from a checkpoint, for `on_load_checkpoint`; does nothing unless a fit is resumed.

    With the same number of processes each gets its own sums; with another number the sums are shared out, and some
    processes may get none.
    """
    if _KEY not in checkpoint:
        return
    try:
        trainer = module.trainer
    except RuntimeError:  # it has none: `load_from_checkpoint`
        return
    if trainer.state.fn != "fit":
        return
    for name, mean in means_of(module).items():
        mean.reset()
        mean.epoch = checkpoint[_KEY]["epoch"]
        for sums in checkpoint[_KEY]["processes"][trainer.global_rank :: trainer.world_size]:
            mean.add_sums(sums[name])


def drop_old_means(module: LightningModule) -> None:
    """Drops sums unless they are of the epoch that continues now, for `on_train_start`.

    They are not if the checkpoint was made at an epoch's end, or if an earlier fit was interrupted.
    """
    for mean in means_of(module).values():
        if mean.epoch != module.current_epoch:
            mean.reset()
        mean.epoch = None


def means_of(module: LightningModule) -> dict[str, EpochMean]:
    """The `EpochMean`s that a module holds as attributes, by name."""
    return {name: child for name, child in module.named_children() if isinstance(child, EpochMean)}


def _of_all_processes(mine: dict[str, Tensor], trainer: Trainer) -> list[dict[str, Tensor]]:
    if trainer.world_size == 1 or _may_be_alone(trainer):
        return [mine]
    everyones = [mine] * trainer.world_size
    torch.distributed.all_gather_object(everyones, mine)
    return everyones


def _may_be_alone(trainer: Trainer) -> bool:
    """Whether the checkpoint is for an error that the other processes may not have; SIGTERM ends all of them."""
    return trainer.interrupted and not isinstance(sys.exc_info()[1], SIGTERMException)
