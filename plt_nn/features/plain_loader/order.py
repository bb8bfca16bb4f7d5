"""The order in which a DataLoader reads its samples; draws the random numbers that the loader would draw."""

import inspect
import operator
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

from plt_nn.features.source import Unnumbered

# Samplers that fix the order of an epoch when its first sample is asked for.
_FIXED_ORDER = (SequentialSampler, SubsetRandomSampler, WeightedRandomSampler, DistributedSampler, list, tuple, range)


class Order:
    """The batches of a DataLoader's epochs."""

    def __init__(self, loader: DataLoader[Any], size: int) -> None:
        self._loader, self._size = loader, size
        self._is_seed_drawn, self._has_begun = False, False

    def on_begun(self) -> None:
        """An iterator of the loader was made; it has drawn the seed of its workers."""
        self._is_seed_drawn = True

    @property
    def draws_ahead(self) -> bool:
        """Whether an iterator draws of the order when it is made: with workers, or if the sampler does so."""
        sampler: Any = self._sampler()
        if isinstance(sampler, SequentialSampler | list | tuple | range):
            return False
        batches: Any = type(self._loader.batch_sampler)
        return self._loader.num_workers > 0 or not inspect.isgeneratorfunction(batches.__iter__)

    def portions(self) -> Iterator[list[Tensor | Unnumbered]]:
        """The batches of an epoch.

        All at once where workers would read ahead, or where the order is fixed. Otherwise one batch at a time: the
        sampler may choose it by what was learnt from the batches before.
        """
        sampler: Any = self._loader.batch_sampler
        batches = iter(sampler)
        # Persistent workers get their seed once.
        if not (self._is_seed_drawn or (self._has_begun and self._loader.persistent_workers)):
            torch.empty((), dtype=torch.int64).random_(generator=self._loader.generator)
        self._is_seed_drawn, self._has_begun = False, True
        if self._loader.num_workers or self._is_order_fixed():
            # Workers ask once more than there are batches, to find out that there are no more.
            at_once = len(self._loader) + (self._loader.num_workers > 0)
            yield [self._rows(batch) for batch in islice(batches, at_once)]
        for batch in batches:
            yield [self._rows(batch)]

    def _sampler(self) -> object:
        sampler: Any = self._loader.batch_sampler
        return sampler.sampler if type(sampler) is BatchSampler else sampler

    def _is_order_fixed(self) -> bool:
        sampler = self._sampler()
        if type(sampler) is RandomSampler:
            return sampler.generator is None  # then it makes its own; from a given one it also draws at the end
        return type(sampler) in _FIXED_ORDER

    def _rows(self, batch: Any) -> Tensor | Unnumbered:
        if not isinstance(batch, list | tuple | range | np.ndarray | Tensor) or len(batch) == 0:
            return Unnumbered(batch)
        numbers = [number_of(key) for key in batch]
        if all(number is not None and 0 <= number < self._size for number in numbers):
            return torch.tensor(numbers, dtype=torch.int64)
        return Unnumbered(batch)


def number_of(key: Any) -> int | None:
    """A key of a sample as a number; None if it is something else."""
    is_number = isinstance(key, int | np.integer) and not isinstance(key, bool)
    if isinstance(key, Tensor):
        is_number = key.ndim == 0 and not (key.is_floating_point() or key.is_complex() or key.dtype == torch.bool)
    return operator.index(key) if is_number else None
