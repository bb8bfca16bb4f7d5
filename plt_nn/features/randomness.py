"""Whether reading a sample gives the same each time."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

_SAMPLES = 8


def is_read_at_random(read: Callable[[int], Any], size: int) -> bool:
    """Whether reading samples draws random numbers, or gives other values the second time.

    A few samples are read, and the generators of torch, numpy and Python are put back.

    Args:
        read: Gives the sample of a number.
        size: Number of samples.
    """
    chosen = sorted({size * part // _SAMPLES for part in range(_SAMPLES)})
    before = (torch.get_rng_state(), np.random.get_state(), random.getstate())
    try:
        first = [read(number) for number in chosen]
        if not _is_same_state(before, (torch.get_rng_state(), np.random.get_state(), random.getstate())):
            return True
        return not all(_is_equal(sample, read(number)) for sample, number in zip(first, chosen, strict=True))
    finally:
        torch.set_rng_state(before[0])
        np.random.set_state(before[1])
        random.setstate(before[2])


def _is_same_state(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    arrays = zip(one[1], other[1], strict=True)
    return torch.equal(one[0], other[0]) and one[2] == other[2] and all(np.array_equal(a, b) for a, b in arrays)


def _is_equal(one: Any, other: Any) -> bool:
    leaves, others = tree_leaves(one), tree_leaves(other)
    return len(leaves) == len(others) and all(map(_is_same, leaves, others))


def _is_same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and torch.equal(one, other)
    return np.array_equal(one, other) if isinstance(one, np.ndarray) else bool(one == other)
