"""Whether all processes hold the same weights."""

from collections.abc import Mapping

import torch
from lightning.pytorch import Trainer

from plt_nn.errors import TrainingError


def require_agreement(trainer: Trainer, digests: Mapping[str, int], when: str) -> None:
    """Compares digests over all processes; every process comes to the same answer.

    Args:
        trainer: The trainer, whose processes all call this.
        digests: The digests of this process by name; the same names on every process.
        when: The moment, for the message.

    Raises:
        TrainingError: Naming what differs, on every process.
    """
    if trainer.world_size == 1:
        return
    mine = torch.tensor(list(digests.values()), dtype=torch.int64, device=trainer.strategy.root_device)
    everyones = [torch.empty_like(mine) for _ in range(trainer.world_size)]
    torch.distributed.all_gather(everyones, mine)
    different = (torch.stack(everyones) != everyones[0]).any(dim=0).tolist()
    names = [name for name, differs in zip(digests, different, strict=True) if differs]
    if names:
        raise TrainingError(
            f"{when}, the weights of the {trainer.world_size} processes differ in {listing(names)}. "
            "Something updates them on one process only, or outside DistributedDataParallel: a parameter that is used "
            "in a way DDP does not see, a change made by hand, or an optimizer that is not the same on every process."
        )


def listing(names: list[str]) -> str:
    """Some names and how many more there are."""
    shown = ", ".join(names[:10])
    return f"{shown} and {len(names) - 10} more" if len(names) > 10 else shown
