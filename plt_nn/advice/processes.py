"""Candidates shared out over the processes that `torchrun` has started, on one machine or several."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch.distributed as dist

Item = TypeVar("Item")


@dataclass(frozen=True)
class Processes:
    """The processes at work.

    Args:
        rank: The number of this one.
        count: How many there are.
    """

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this one speaks."""
        return self.rank == 0

    def device(self, name: str) -> str:
        """The device of this process, where several on a machine would have the same GPU."""
        return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if name == "cuda" and self.count > 1 else name

    def share(self, items: Sequence[Item]) -> list[Item]:
        """What falls to this process of some items, in the order in which they should be begun."""
        return list(items[self.rank :: self.count])

    def gathered(self, items: list[Item]) -> list[Item]:
        """What all processes have, on each of them."""
        if self.count == 1:
            return items
        parts: list[Any] = [None] * self.count
        dist.all_gather_object(parts, items)
        return [item for part in parts for item in part]


@contextmanager
def processes() -> Iterator[Processes]:
    """The processes of this call; one, unless `torchrun` has started several."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Processes()
        return
    dist.init_process_group("gloo")  # what is passed on are a few numbers
    try:
        yield Processes(dist.get_rank(), count)
    finally:
        dist.destroy_process_group()
