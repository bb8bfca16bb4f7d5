"""Finds out, by reading a few samples, what the samples of a DataLoader or a function depend on."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves
from torch.utils.data import DataLoader, SubsetRandomSampler, get_worker_info

from plt_nn.features.inputs import inputs_of, place_of_inputs
from plt_nn.features.plain_loader.dataset_watch import DatasetWatch
from plt_nn.features.plain_loader.order import number_of
from plt_nn.features.plain_loader.reader import read_apart
from plt_nn.frontier.random_state import generator_states, generators_restored

_SAMPLES = 8


class Probe(NamedTuple):
    """What samples depend on besides their numbers.

    Attributes:
        is_random: Whether reading them draws random numbers, or gives others the second time.
        are_inputs_mixed: Whether the inputs depend on the batch, as where they are padded to the longest one.
        are_targets_mixed: Whether anything else in the batch does.
        has_inputs: Whether the inputs are a tensor.
        changed: The data set's attributes that reading changes, as `DatasetWatch` calls them.
    """

    is_random: bool
    are_inputs_mixed: bool
    are_targets_mixed: bool
    has_inputs: bool = True
    changed: frozenset[str] = frozenset()

    def why_random(self) -> str:
        """Why inputs are not a function of their numbers, in words; empty if they are."""
        if self.is_random:
            return "they are read at random"
        if not self.has_inputs:
            return "their inputs are not one tensor with a row for each sample"
        return "their inputs depend on the batch that they are in" if self.are_inputs_mixed else ""


def probe(loader: DataLoader[Any], size: int) -> Probe:
    """Reads a few samples of a loader: alone, alone again, and together.

    Raises:
        ValueError: If it is not known which samples can be read.
        Exception: Whatever the data set raises.
    """
    numbers = _numbers(loader, size)
    alone = [[number] for number in numbers]
    to_read = [*alone, *alone, numbers]
    watched = _WatchedCollation(loader, len(to_read))
    read = read_apart(loader, to_read, watched, watched.begin)
    batches, has_drawn = [one.batch for one in read], any(one.has_drawn for one in read)
    first, again, together = batches[: len(alone)], batches[len(alone) : -1], batches[-1]
    is_random = has_drawn or not is_equal(first, again)
    has_inputs = inputs_of(together) is not None
    return Probe(is_random, *_depends_on_batch(first, together), has_inputs, read[-1].changed)


def is_read_at_random(read: Callable[[int], Any], size: int) -> bool:
    """Whether reading samples draws random numbers, or gives other values the second time.

    A few samples are read; the generators of torch, numpy and Python are restored.
    """
    chosen = _spread(size)
    with generators_restored() as has_drawn:
        first = [read(number) for number in chosen]
        if has_drawn():
            return True
        return not all(is_equal(sample, read(number)) for sample, number in zip(first, chosen, strict=True))


def is_equal(one: Any, other: Any) -> bool:
    """Whether two samples or batches hold equal values; False for what cannot be compared."""
    leaves, others = tree_leaves(one), tree_leaves(other)
    return len(leaves) == len(others) and all(map(_is_leaf_equal, leaves, others))


class _Read(NamedTuple):
    """A batch, whether random numbers were drawn for it, and, with the last one, which attributes reading changed."""

    batch: Any
    has_drawn: bool
    changed: frozenset[str]


class _WatchedCollation:
    """A loader's collation that also reports what reading each batch has done."""

    def __init__(self, loader: DataLoader[Any], batches: int) -> None:
        self._collate, self._begin = loader.collate_fn, loader.worker_init_fn if loader.num_workers else None
        self._watch, self._remaining = DatasetWatch(loader.dataset), batches
        self._states: tuple[object, ...] | None = None

    def begin(self, worker: int) -> None:
        """Called in the process that reads, before it reads."""
        if self._begin is not None:
            self._begin(worker)
        info = get_worker_info()
        if info is not None:
            self._watch = DatasetWatch(info.dataset)  # worker_init_fn may have put another one there
        self._watch.begin()
        self._states = generator_states()

    def __call__(self, samples: Any) -> _Read:
        batch, before, self._states = self._collate(samples), self._states, generator_states()
        self._remaining -= 1
        changed = frozenset() if self._remaining else self._watch.changed().all
        return _Read(batch, before != self._states, changed)


def _numbers(loader: DataLoader[Any], size: int) -> list[int]:
    """A few of the samples that an epoch reads: samples that a sampler leaves out may be unreadable."""
    sampler = getattr(loader.batch_sampler, "sampler", None)
    if isinstance(sampler, SubsetRandomSampler):
        sampler = sampler.indices
    if not isinstance(sampler, list | tuple | range | np.ndarray | Tensor):
        return _spread(size)
    found = [number_of(sampler[at]) for at in _spread(len(sampler))]
    chosen = [number for number in found if number is not None and 0 <= number < size]
    if len(chosen) < len(found):
        raise ValueError("the sampler gives no numbers of samples")
    return chosen


def _spread(size: int) -> list[int]:
    """A few numbers below `size`, evenly spread."""
    return sorted({size * part // _SAMPLES for part in range(_SAMPLES)}) if size else []


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
    """Whether a value of a batch is the values of the batches of one sample, concatenated."""
    if not (isinstance(together, Tensor) and together.shape[:1] == (len(alone),)):
        return False
    like: Callable[[Any], bool] = lambda one: isinstance(one, Tensor) and one.shape == (1, *together.shape[1:])  # noqa: E731
    return all(map(like, alone)) and is_equal(torch.cat(list(alone)), together)


def _is_leaf_equal(one: Any, other: Any) -> bool:
    if not isinstance(one, Tensor):
        return np.array_equal(one, other) if isinstance(one, np.ndarray) else bool(one == other)
    if not isinstance(other, Tensor) or (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    is_nan = one.isnan() & other.isnan() if one.is_floating_point() else None  # missing labels, for example
    return bool(((one == other) | is_nan).all()) if is_nan is not None else torch.equal(one, other)
