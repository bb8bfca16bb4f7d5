"""Reads chosen batches of a DataLoader's samples as the loader would."""

import itertools
import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader

from plt_nn.frontier.random_state import generators_restored

_IS_ERROR = re.compile(r"[A-Za-z_][\w.]*: ")  # the line after a traceback
_seeds = itertools.count()


def reader(
    loader: DataLoader[Any],
    batches: Sequence[Any],
    num_workers: int | None = None,
    collate: Callable[[Any], Any] | None = None,
    begin: Callable[[int], None] | None = None,
) -> DataLoader[Any]:
    """A loader that reads batches with the data set, the collation and the workers of another one.

    A new one is made for each reading, so that reading inside a loop over the same loader does not disturb the loop.

    Args:
        loader: The loader.
        batches: The keys of each batch's samples.
        num_workers: How many workers read. Default: as many as the loader has.
        collate: Replaces the loader's collation.
        begin: Replaces the loader's `worker_init_fn`.
    """
    num_workers = loader.num_workers if num_workers is None else num_workers
    workers: dict[str, Any] = {}
    if num_workers:
        workers = {"prefetch_factor": loader.prefetch_factor, "multiprocessing_context": loader.multiprocessing_context}
    return DataLoader(
        loader.dataset,
        batch_sampler=batches,
        collate_fn=collate or loader.collate_fn,
        num_workers=num_workers,
        pin_memory=loader.pin_memory and collate is None,
        timeout=loader.timeout,
        worker_init_fn=begin or loader.worker_init_fn,
        generator=torch.Generator().manual_seed(next(_seeds)),  # not the global one, from which the training draws
        **workers,
    )


def read_apart(
    loader: DataLoader[Any],
    batches: Sequence[Any],
    collate: Callable[[Any], Any] | None = None,
    begin: Callable[[int], None] | None = None,
) -> list[Any]:
    """Reads a few batches without affecting the epoch.

    If the loader has workers, a worker of its own reads: a data set that this process has read may no longer be fit
    for workers, such as one that opens a file at the first reading. The arguments are those of `reader`; `collate` and
    `begin` are called in the process that reads.
    """
    if loader.num_workers:
        batches_read: Any = iter(reader(loader, batches, 1, collate, begin))
        try:
            return list(batches_read)
        finally:  # an error that somebody holds would hold the worker as well
            batches_read._shutdown_workers()
    with generators_restored(loader.dataset, loader.collate_fn):
        if begin is not None:
            begin(0)
        return list(reader(loader, batches, 0, collate))


def reason_of(error: Exception) -> str:
    """An error in one line; for an error in a worker, the original one."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    if lines[0].startswith("Caught ") and "worker process" in lines[0]:
        return next((line for line in lines if _IS_ERROR.match(line)), lines[0])
    return f"{type(error).__name__}: {lines[0]}"
