"""Checks that frozen weights are unchanged, and that all processes hold the same weights."""

from collections.abc import Mapping

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from plt_nn.callbacks.lightning.strategies import ignored_by_ddp
from plt_nn.errors import TrainingError
from plt_nn.fingerprint.digest import digests, names_that_differ
from plt_nn.text import and_more


def require_unchanged(
    trainer: Trainer, pl_module: LightningModule, frozen: Mapping[str, Tensor], before: Mapping[str, int], when: str
) -> None:
    """Makes sure that what was frozen has not changed and that all processes have the same weights.

    Args:
        trainer: The trainer, whose processes all call this.
        pl_module: The module that it trains.
        frozen: What must not have changed, by its name in the module.
        before: Its digests from the time when it was frozen.
        when: The moment, for the message.

    Raises:
        TrainingError: Naming what has changed or differs.
    """
    now = digests(frozen)
    if trainer.world_size > 1:  # first, because it has the same result on every process
        ignored = ignored_by_ddp(trainer.strategy)
        others = {name: p for name, p in pl_module.named_parameters() if name not in now and name not in ignored}
        _require_agreement(trainer, digests(others) | now, when)
    if changed := names_that_differ(before, now):
        raise TrainingError(
            f"{when}, these had changed though the phase froze them: {and_more(changed, 10)}. Something writes into "
            "frozen layers: a callback, an optimizer of your own, or code in a training step. Leave them alone, or "
            "let the phase train them."
        )


def _require_agreement(trainer: Trainer, digests: Mapping[str, int], when: str) -> None:
    """Compares digests, of the same names on every process, over all processes, with the same result on each."""
    mine = torch.tensor(list(digests.values()), dtype=torch.int64, device=trainer.strategy.root_device)
    everyones = [torch.empty_like(mine) for _ in range(trainer.world_size)]
    torch.distributed.all_gather(everyones, mine)
    different = (torch.stack(everyones) != everyones[0]).any(dim=0).tolist()
    names = [name for name, differs in zip(digests, different, strict=True) if differs]
    if names:
        raise TrainingError(
            f"{when}, the weights of the {trainer.world_size} processes differ in {and_more(names, 10)}. "
            "Something updates them on one process only, or outside DistributedDataParallel: a parameter that is used "
            "in a way DDP does not see, a change made by hand, or an optimizer that is not the same on every process."
        )
