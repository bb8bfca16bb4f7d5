"""Shares candidates among the processes that `torchrun` started, on one machine or several."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch.distributed as dist

Item = TypeVar("Item")


@dataclass(frozen=True)
class Processes:
    """The processes of this call: the number of this one, and how many there are."""

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that prints and writes."""
        return self.rank == 0

    def device(self, name: str) -> str:
        """The device of this process; with several processes, each has a GPU of its own."""
        return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if name == "cuda" and self.count > 1 else name

    def share(self, items: Sequence[Item]) -> list[Item]:
        """The items for this process, in the given order."""
        return list(items[self.rank :: self.count])

    def gathered(self, items: list[Item]) -> list[Item]:
        """The items of all processes, on each of them."""
        if self.count == 1:
            return items
        parts: list[Any] = [None] * self.count
        dist.all_gather_object(parts, items)
        return [item for part in parts for item in part]


@contextmanager
def processes() -> Iterator[Processes]:
    """The processes of this call: one, unless `torchrun` started several."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Processes()
        return
    dist.init_process_group("gloo")  # only a few numbers are exchanged
    try:
        yield Processes(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()
