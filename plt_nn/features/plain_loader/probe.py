"""Finds out, by reading a few samples, what a DataLoader's samples depend on."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves
from torch.utils.data import DataLoader, SubsetRandomSampler, get_worker_info

from plt_nn.features.plain_loader.dataset_watch import DatasetWatch
from plt_nn.features.plain_loader.inputs import inputs_of, place_of_inputs
from plt_nn.features.plain_loader.order import number_of
from plt_nn.features.plain_loader.randomness import is_equal, some_of
from plt_nn.features.plain_loader.reader import read_apart
from plt_nn.frontier.random_state import generator_states


class Probe(NamedTuple):
    """What samples depend on besides their numbers.

    Attributes:
        is_random: Whether reading them draws random numbers, or gives others the second time.
        is_mixed: Whether the inputs depend on what else is in the batch, as where they are padded to the longest one.
        is_rest_mixed: Whether anything else in the batch does.
        has_inputs: Whether the inputs are a tensor.
        changed: The data set's attributes that reading changes, as `DatasetWatch` calls them.
    """

    is_random: bool
    is_mixed: bool
    is_rest_mixed: bool
    has_inputs: bool = True
    changed: frozenset[str] = frozenset()


def probe(loader: DataLoader[Any], size: int) -> Probe:
    """Reads a few samples, alone, alone again, and together.

    Args:
        loader: The loader.
        size: Number of samples.

    Raises:
        ValueError: If it is not known which samples could be read.
        Exception: Whatever the data set raises.
    """
    numbers = _numbers(loader, size)
    alone = [[number] for number in numbers]
    to_read = [*alone, *alone, numbers]
    watched = _Watched(loader, len(to_read))
    read = read_apart(loader, to_read, watched, watched.begin)
    batches, has_drawn = [one.batch for one in read], any(one.has_drawn for one in read)
    first, again, together = batches[: len(alone)], batches[len(alone) : -1], batches[-1]
    is_random = has_drawn or not is_equal(first, again)
    has_inputs = inputs_of(together) is not None
    return Probe(is_random, *_depends_on_batch(first, together), has_inputs, read[-1].changed)


class _Read(NamedTuple):
    """A batch, whether random numbers were drawn for it, and with the last one what reading has changed."""

    batch: Any
    has_drawn: bool
    changed: frozenset[str]


class _Watched:
    """A loader's collation, which tells besides each batch what reading it has done.

    Args:
        loader: The loader.
        batches: How many batches are read.
    """

    def __init__(self, loader: DataLoader[Any], batches: int) -> None:
        self._collate, self._begin = loader.collate_fn, loader.worker_init_fn if loader.num_workers else None
        self._watch, self._left = DatasetWatch(loader.dataset), batches
        self._states: tuple[object, ...] | None = None

    def begin(self, worker: int) -> None:
        """Called in the process that reads."""
        if self._begin is not None:
            self._begin(worker)
        info = get_worker_info()
        if info is not None:
            self._watch = DatasetWatch(info.dataset)  # its worker_init_fn may have put another one there
        self._watch.begin()
        self._states = generator_states()

    def __call__(self, samples: Any) -> _Read:
        batch, before, self._states = self._collate(samples), self._states, generator_states()
        self._left -= 1
        changed = frozenset() if self._left else self._watch.changed().all
        return _Read(batch, before != self._states, changed)


def _numbers(loader: DataLoader[Any], size: int) -> list[int]:
    """A few of the samples that are read in an epoch: who leaves some out may have reasons."""
    sampler = getattr(loader.batch_sampler, "sampler", None)
    if isinstance(sampler, SubsetRandomSampler):
        sampler = sampler.indices
    if not isinstance(sampler, list | tuple | range | np.ndarray | Tensor):
        return some_of(size)
    found = [number_of(sampler[at]) for at in some_of(len(sampler))]
    chosen = [number for number in found if number is not None and 0 <= number < size]
    if len(chosen) < len(found):
        raise ValueError("the sampler gives no numbers of samples")
    return chosen


def _depends_on_batch(alone: Sequence[Any], together: Any) -> tuple[bool, bool]:
    """Whether the inputs do, and whether anything else does."""
    columns = [tree_leaves(batch) for batch in alone]
    leaves = tree_leaves(together)
    place = place_of_inputs(together, leaves)
    if any(len(column) != len(leaves) for column in columns):  # names of files, or a list of targets
        return not _is_stacked([inputs_of(batch) for batch in alone], inputs_of(together)), True
    is_mixed = [not _is_stacked([column[at] for column in columns], leaf) for at, leaf in enumerate(leaves)]
    return place is not None and is_mixed[place], any(mixed for at, mixed in enumerate(is_mixed) if at != place)


def _is_stacked(alone: Sequence[Any], together: Any) -> bool:
    """Whether what is in a batch is what is in the batches of one sample, one below the other."""
    if not (isinstance(together, Tensor) and together.shape[:1] == (len(alone),)):
        return False
    like: Callable[[Any], bool] = lambda one: isinstance(one, Tensor) and one.shape == (1, *together.shape[1:])  # noqa: E731
    return all(map(like, alone)) and is_equal(torch.cat(list(alone)), together)
