"""Puts together what the processes of a distributed run have seen of one validation."""

from typing import Any

import torch
from torch import Tensor, distributed

from plt_nn.callbacks.validation.validation_sums import ClassSums, worst_of_all


def sums_of_processes(mine: ClassSums | None, most: int, device: torch.device) -> ClassSums | None:
    """The sums of all processes; every process must call this, also one that has seen nothing.

    What is exchanged first is small and tells every process alike what comes next. Images travel to process 0 alone,
    and only those that are among the most wrong of all.

    Args:
        mine: What this process has seen; None if that is nothing.
        most: How many of the most wrong samples to keep.
        device: Where tensors must lie for the processes to exchange them.

    Returns:
        The sums of all, the worst with their images on process 0 alone; None if no process has seen anything, or if
        they have seen unlike things.
    """
    if not (distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1):
        return mine
    described = None if mine is None else (_classes(mine), mine.bins.shape[1], mine.worst)
    everyones: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(everyones, described)
    seen = [other for other in everyones if other is not None]
    if len({other[:2] for other in seen}) != 1:
        return None
    classes, bins, _ = seen[0]
    empty = torch.zeros(0, 5, dtype=torch.float64)
    tables = [empty if other is None else other[2] for other in everyones]
    chosen = worst_of_all(tables, most)
    return ClassSums(
        confusion=_summed(mine.confusion if mine else None, (classes, classes), torch.int32, device)
        if classes
        else None,
        bins=_summed(mine.bins if mine else None, (3, bins), torch.float64, device),
        worst=torch.stack([tables[process][at] for process, at in chosen]) if chosen else empty,
        pixels=_gathered_pixels(mine.pixels if mine else [], chosen),
    )


def _classes(sums: ClassSums) -> int:
    return 0 if sums.confusion is None else len(sums.confusion)


def _summed(mine: Tensor | None, shape: tuple[int, int], dtype: torch.dtype, device: torch.device) -> Tensor:
    total = torch.zeros(shape, dtype=dtype, device=device) if mine is None else mine.to(device, copy=True)
    distributed.all_reduce(total)
    return total.cpu()


def _gathered_pixels(mine: list[Tensor], chosen: list[tuple[int, int]]) -> list[Tensor]:
    """The images of the chosen samples on process 0, if all have one; nothing on the other processes."""
    rank = distributed.get_rank()
    share = {at: mine[at] for process, at in chosen if process == rank and at < len(mine)}
    shares: list[Any] | None = [None] * distributed.get_world_size() if rank == 0 else None
    distributed.gather_object(share, shares, dst=0)
    found = [] if shares is None else [shares[process].get(at) for process, at in chosen]
    return [] if any(pixels is None for pixels in found) else found
