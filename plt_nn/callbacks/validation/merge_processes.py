"""Merges what the processes of a distributed run have seen of one validation."""

from typing import Any

import torch
from torch import Tensor, distributed

from plt_nn.callbacks.validation.class_results import ClassResults, worst_of_all


def merge_processes(mine: ClassResults | None, most: int, device: torch.device) -> ClassResults | None:
    """The results of all processes; every process must call this, also one that has seen nothing.

    The first exchange is small and tells every process what comes next. Images travel to process 0 alone, and only
    those that are among the most wrong of all.

    Args:
        mine: What this process has seen; None if that is nothing.
        most: How many of the most wrong samples to store.
        device: Where tensors must be for the processes to exchange them.

    Returns:
        The results of all, with images on process 0 alone; None if no process has seen anything, or if they have seen
        different numbers of classes.
    """
    if not (distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1):
        return mine
    shapes = mine and (None if mine.confusion is None else mine.confusion.shape, mine.bins.shape)
    everyones: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(everyones, mine and (shapes, mine.worst))
    seen = [other for other in everyones if other is not None]
    if len({shapes for shapes, _ in seen}) != 1:
        return None
    empty = torch.zeros(0, 5, dtype=torch.float64)
    tables = [empty if other is None else other[1] for other in everyones]
    chosen = worst_of_all(tables, most)
    (confusion, bins), _ = seen[0]
    return ClassResults(
        confusion=None if confusion is None else _sum(mine.confusion if mine else None, confusion, torch.int32, device),
        bins=_sum(mine.bins if mine else None, bins, torch.float64, device),
        worst=torch.stack([tables[process][at] for process, at in chosen]) if chosen else empty,
        pixels=_gather_pixels(mine.pixels if mine else [], chosen),
    )


def _sum(mine: Tensor | None, shape: torch.Size, dtype: torch.dtype, device: torch.device) -> Tensor:
    total = torch.zeros(shape, dtype=dtype, device=device) if mine is None else mine.to(device, copy=True)
    distributed.all_reduce(total)
    return total.cpu()


def _gather_pixels(mine: list[Tensor], chosen: list[tuple[int, int]]) -> list[Tensor]:
    """The images of the chosen samples on process 0, if all have one; nothing on the other processes."""
    rank = distributed.get_rank()
    share = {at: mine[at] for process, at in chosen if process == rank and at < len(mine)}
    shares: list[Any] | None = [None] * distributed.get_world_size() if rank == 0 else None
    distributed.gather_object(share, shares, dst=0)
    found = [] if shares is None else [shares[process].get(at) for process, at in chosen]
    return [] if any(pixels is None for pixels in found) else found
