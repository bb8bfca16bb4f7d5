"""Whether reading a sample gives the same each time."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from plt_nn.frontier.random_state import generators_restored

_SAMPLES = 8


def some_of(size: int) -> list[int]:
    """A few numbers below `size`, all over it."""
    return sorted({size * part // _SAMPLES for part in range(_SAMPLES)}) if size else []


def is_read_at_random(read: Callable[[int], Any], size: int) -> bool:
    """Whether reading samples draws random numbers, or gives other values the second time.

    A few samples are read, and the generators of torch, numpy and Python are put back.

    Args:
        read: Gives the sample of a number.
        size: Number of samples.
    """
    chosen = some_of(size)
    with generators_restored() as has_drawn:
        first = [read(number) for number in chosen]
        if has_drawn():
            return True
        return not all(is_equal(sample, read(number)) for sample, number in zip(first, chosen, strict=True))


def is_equal(one: Any, other: Any) -> bool:
    """Whether two samples or batches hold the same; of what cannot be compared, no."""
    leaves, others = tree_leaves(one), tree_leaves(other)
    return len(leaves) == len(others) and all(map(_is_same, leaves, others))


def _is_same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and _is_same_tensor(one, other)
    return np.array_equal(one, other) if isinstance(one, np.ndarray) else bool(one == other)


def _is_same_tensor(one: Tensor, other: Tensor) -> bool:
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    is_nan = one.isnan() & other.isnan() if one.is_floating_point() else None  # missing labels, for example
    return bool(((one == other) | is_nan).all()) if is_nan is not None else torch.equal(one, other)
