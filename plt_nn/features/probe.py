"""Finds out, by reading a few samples, what a DataLoader's samples depend on."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves
from torch.utils.data import DataLoader, SubsetRandomSampler

from plt_nn.features.inputs import place_of_inputs
from plt_nn.features.randomness import Generators, generators, is_equal, some_of
from plt_nn.features.reading import read_apart


class Probe(NamedTuple):
    """What samples depend on besides their numbers.

    Attributes:
        is_random: Whether reading them draws random numbers, or gives others the second time.
        is_mixed: Whether the inputs depend on what else is in the batch, as where they are padded to the longest one.
        is_rest_mixed: Whether anything else in the batch does.
    """

    is_random: bool
    is_mixed: bool
    is_rest_mixed: bool


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
    watched = _Watched(loader)
    read = read_apart(loader, [*alone, *alone, numbers], watched, watched.begin)
    batches, has_drawn = [batch for batch, _ in read], any(drawn for _, drawn in read)
    first, again, together = batches[: len(alone)], batches[len(alone) : -1], batches[-1]
    is_random = has_drawn or not is_equal(first, again)
    return Probe(is_random, *_depends_on_batch(first, together))


class _Watched:
    """A loader's collation, which tells besides each batch whether random numbers were drawn for it."""

    def __init__(self, loader: DataLoader[Any]) -> None:
        self._collate, self._begin = loader.collate_fn, loader.worker_init_fn if loader.num_workers else None
        self._generators: Generators | None = None

    def begin(self, worker: int) -> None:
        """Called in the process that reads."""
        if self._begin is not None:
            self._begin(worker)
        self._generators = generators()

    def __call__(self, samples: Any) -> tuple[Any, bool]:
        batch, before, self._generators = self._collate(samples), self._generators, generators()
        return batch, before is None or not before.is_same(self._generators)


def _numbers(loader: DataLoader[Any], size: int) -> list[int]:
    """A few of the samples that are read in an epoch: who leaves some out may have reasons."""
    sampler = getattr(loader.batch_sampler, "sampler", None)
    if isinstance(sampler, SubsetRandomSampler):
        sampler = sampler.indices
    if not isinstance(sampler, list | tuple | range):
        return some_of(size)
    chosen = [sampler[at] for at in some_of(len(sampler))]
    if not all(type(number) is int and 0 <= number < size for number in chosen):
        raise ValueError("the sampler gives no numbers of samples")
    return chosen


def _depends_on_batch(alone: Sequence[Any], together: Any) -> tuple[bool, bool]:
    """Whether the inputs do, and whether anything else does."""
    columns = [tree_leaves(batch) for batch in alone]
    leaves = tree_leaves(together)
    place = place_of_inputs(together, leaves)
    if any(len(column) != len(leaves) for column in columns):
        return True, True
    is_mixed = [not _is_stacked([column[at] for column in columns], leaf) for at, leaf in enumerate(leaves)]
    return place is not None and is_mixed[place], any(mixed for at, mixed in enumerate(is_mixed) if at != place)


def _is_stacked(alone: Sequence[Any], together: Any) -> bool:
    """Whether what is in a batch is what is in the batches of one sample, one below the other."""
    if not (isinstance(together, Tensor) and together.shape[:1] == (len(alone),)):
        return False
    like: Callable[[Any], bool] = lambda one: isinstance(one, Tensor) and one.shape == (1, *together.shape[1:])  # noqa: E731
    return all(map(like, alone)) and is_equal(torch.cat(list(alone)), together)
