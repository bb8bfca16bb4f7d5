"""Shares candidates among the processes that `torchrun` started, on one machine or several."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch.distributed as dist

Item = TypeVar("Item")


@contextmanager
def process_group() -> Iterator[bool]:
    """Connects the processes of this call, if `torchrun` started several; gives whether this is the first of them."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield True
        return
    dist.init_process_group("gloo")  # only a few numbers are exchanged
    try:
        yield dist.get_rank() == 0
    finally:
        dist.destroy_process_group()


def device_of_process(name: str) -> str:
    """The device of this process; with several processes, each has a GPU of its own."""
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if name == "cuda" and dist.is_initialized() else name


def share(items: Sequence[Item]) -> list[Item]:
    """The items for this process, in the given order."""
    return list(items[dist.get_rank() :: dist.get_world_size()]) if dist.is_initialized() else list(items)


def gathered(items: list[Item]) -> list[Item]:
    """The items of all processes, on each of them."""
    if not dist.is_initialized():
        return items
    parts: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(parts, items)
    return [item for part in parts for item in part]
