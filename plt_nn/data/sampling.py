"""The samples that each process reads, their order and their batches."""

import math
import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple, cast

import torch
from lightning.pytorch import Trainer
from torch import Tensor
from torch.utils.data import Dataset, DistributedSampler, SequentialSampler

from plt_nn.errors import ConfigError, DataError


def sampler_for(trainer: Trainer | None, size: int, batch_size: int, training: bool) -> "EpochBatches":
    """The sampler of one split for this process of `trainer`; without a trainer, for the only process.

    Args:
        trainer: The trainer that will read the split.
        size: Number of samples in the split.
        batch_size: Samples per process and step.
        training: Whether to shuffle in each epoch; otherwise the order stays the same.
    """
    if trainer is None:
        return EpochBatches(size, batch_size, shuffle=training, seed=run_seed())
    return EpochBatches(
        size,
        batch_size,
        rank=trainer.global_rank,
        world_size=trainer.world_size,
        shuffle=training,
        seed=run_seed(),
        same_every_epoch=getattr(trainer, "overfit_batches", 0) > 0,
        in_work=partial(batches_in_work, trainer),
    )


def run_seed() -> int:
    """The seed of `lightning.seed_everything`, or 0; Lightning's own samplers read the same variable."""
    return int(os.environ.get("PL_GLOBAL_SEED", 0))


def batches_in_work(trainer: Trainer) -> int:
    """How many training batches `trainer` has fetched and not yet trained on: one while a step is running.

    Where it does not know the length of an epoch, it fetches one batch ahead, to know which one is the last.
    """
    progress: Any = trainer.fit_loop.epoch_loop.batch_progress.current
    started = int(progress.ready)
    is_ahead = started > 0 and math.isinf(trainer.num_training_batches) and not trainer.is_last_batch
    return started - int(progress.processed) + is_ahead


class Draw(NamedTuple):
    """The samples of one batch, and their epoch, on which random transforms depend."""

    epoch: int
    indices: list[int]


class EpochBatches(DistributedSampler[Any], SequentialSampler):
    """Yields whole batches of sample indices for one of several processes.

    With `shuffle`, rank r of W reads every W-th sample of one permutation, so that the k-th batches of all ranks
    together are the k-th batch of one process with W times the batch size. The last batch may be short; if W does not
    divide the size, the first samples of the permutation are repeated at its end.

    Without `shuffle`, each rank reads one contiguous share in batches of nearly equal size. Each sample is read once,
    and all ranks have the same number of batches, so that they can exchange numbers in every step.

    It is a `DistributedSampler` because Lightning replaces any other in distributed training, and a
    `SequentialSampler` because Lightning replaces any other for `Trainer(overfit_batches=...)`.

    Args:
        size: Number of samples in the split.
        batch_size: Maximum number of samples in a batch. (Without `shuffle`, with `batch_size=1` and if W does not
            divide the size, some batches hold two, so that all ranks have the same number of batches.)
        rank: This process; default 0.
        world_size: Number of processes; default 1.
        shuffle: Draw a new permutation in each epoch; default False.
        seed: Seed of the permutations; epoch e uses seed + e.
        same_every_epoch: Draw the permutation of epoch 0 in every epoch; default False.
        in_work: Gives the number of yielded batches that are not yet trained on; default 0.

    Raises:
        ConfigError: `batch_size` is less than 1.
        DataError: There are no samples, or without `shuffle` fewer than there are processes.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        rank: int = 0,
        world_size: int = 1,
        shuffle: bool = False,
        seed: int = 0,
        same_every_epoch: bool = False,
        in_work: Callable[[], int] = int,
    ) -> None:
        if batch_size < 1:
            raise ConfigError(f"batch_size is {batch_size}; it must be at least 1.")
        if size < (1 if shuffle else world_size):
            raise DataError(
                f"A split of {size} samples cannot be shared among {world_size} process(es) without reading a sample"
                " twice: use fewer processes or more samples."
            )
        everything = cast("Dataset[Any]", range(size))  # DistributedSampler needs only its length
        super().__init__(everything, num_replicas=world_size, rank=rank, shuffle=shuffle, seed=seed)
        self.size, self.batch_size, self.same_every_epoch = size, batch_size, same_every_epoch
        self.done = 0  # yielded batches of this epoch; the loader counts them, because its workers may be ahead
        self._in_work = in_work
        self._resume_at: dict[str, int] | None = None

    def __len__(self) -> int:
        """Number of batches of this rank, the same on all ranks."""
        share = math.ceil(self.size / self.num_replicas)
        batches = math.ceil(share / self.batch_size)
        return batches if self.shuffle else min(batches, self.size // self.num_replicas)

    def __iter__(self) -> Iterator[Any]:
        # A generator, because a DataLoader with workers makes two iterators and uses one.
        begin = self.begin()
        for batch in self.cut(self.order())[begin:]:
            yield Draw(self._drawn_epoch, batch.tolist())

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch whose order is drawn next; Lightning calls this before each epoch."""
        if epoch != self.epoch:
            self.epoch, self.done = epoch, 0

    def order(self) -> Tensor:
        """The indices that this rank reads in this epoch, int64 `(samples of this rank,)`."""
        if not self.shuffle:
            return torch.arange(self.size).tensor_split(self.num_replicas)[self.rank]
        generator = torch.Generator().manual_seed(self.seed + self._drawn_epoch)
        drawn = torch.randperm(self.size, generator=generator).repeat(math.ceil(self.total_size / self.size))
        return drawn[self.rank : self.total_size : self.num_replicas]

    def cut(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Cut a tensor whose rows are in the order of `order()` into one view for each batch."""
        return torch.split(rows, self.batch_size) if self.shuffle else rows.tensor_split(len(self))

    def begin(self) -> int:
        """The number of the first batch: 0, or after a resume the first that was not trained on."""
        state, self._resume_at = self._resume_at, None
        self.done = state["done"] if state is not None and state["epoch"] == self.epoch else 0
        return self.done

    def count_batch(self) -> None:
        """Count a batch of the epoch that is handed out."""
        self.done += 1

    def state_dict(self) -> dict[str, int]:
        """How far training has come in this epoch; a batch whose training was interrupted is repeated."""
        return self._resume_at or {"epoch": self.epoch, "done": self.done - self._in_work()}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Let the next pass through the epoch of `state` begin where training was at that time."""
        self._resume_at = dict(state)

    @property
    def _drawn_epoch(self) -> int:
        return 0 if self.same_every_epoch else self.epoch
