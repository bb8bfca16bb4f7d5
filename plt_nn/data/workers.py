"""The worker processes of loaders: how many, how they are started, and how they end."""

import atexit
import multiprocessing
import multiprocessing.util  # registers its own end first, so that it comes after ours
import signal
from typing import Any

import torch
from lightning.pytorch import Trainer

from plt_nn.data.image_check import usable_cores

_SECONDS = 1.0  # that all workers together have to end, before they are killed


def default_num_workers(trainer: Trainer | None) -> int:
    """The processor cores for each process of `trainer`, 8 at most."""
    return min(max(1, usable_cores() // (trainer.num_devices if trainer else 1)), 8)


def reading_options(num_workers: int, seed: int, keep_workers: bool = True) -> dict[str, Any]:
    """Arguments of a `DataLoader` whose sampler yields whole batches; memory is pinned where there is a GPU.

    Args:
        num_workers: Number of processes that read; 0 reads in this process.
        seed: Seed of the loader's own generator; without one, each epoch would draw from the global generator.
        keep_workers: Whether workers live as long as the loader; default True.
    """
    return {
        "batch_size": None,
        "num_workers": num_workers,
        "persistent_workers": keep_workers and num_workers > 0,
        "pin_memory": torch.cuda.is_available(),
        "generator": torch.Generator().manual_seed(seed),
        "worker_init_fn": outlive_sigterm if num_workers else None,
    }


def outlive_sigterm(worker: int) -> None:
    """Lets a worker end only with its loader: a scheduler sends SIGTERM to every process of a job.

    If a worker ended first, the step would fail before training could end in good order.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


@atexit.register
def _end_workers() -> None:
    """Ends workers whose loader is still being read when the process ends.

    `multiprocessing` would send them SIGTERM, which they ignore, and wait for them without end.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's own handler raises an error when a worker is killed
    workers = [child for child in multiprocessing.active_children() if child.daemon]
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.join(_SECONDS / len(workers) if worker.exitcode is None else 0)
        worker.kill()
