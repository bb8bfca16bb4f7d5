"""The generators of random numbers that a data set has for itself."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

_DEEP = 4
_LONG = 100  # entries of a list in which anybody would look for a generator


@contextmanager
def own_generators_put_back(owner: object) -> Iterator[None]:
    """Puts the generators in an object's attributes, and in those of its transforms, back to where they were.

    Args:
        owner: A data set, or several objects.
    """
    put_back = list(_found(owner, _DEEP))
    try:
        yield
    finally:
        for function in put_back:
            function()


def _found(value: Any, deep: int) -> Iterator[Callable[[], None]]:
    """For each generator what puts it back."""
    if isinstance(value, torch.Generator):
        state = value.get_state()
        yield lambda: _ignore(value.set_state(state))
    elif isinstance(value, np.random.Generator):
        before = deepcopy(value.bit_generator.state)
        yield lambda: setattr(value.bit_generator, "state", before)
    elif isinstance(value, np.random.RandomState):
        legacy = value.get_state()
        yield lambda: value.set_state(legacy)
    elif isinstance(value, random.Random):
        python = value.getstate()
        yield lambda: value.setstate(python)
    elif deep:
        for part in _parts(value):
            yield from _found(part, deep - 1)


def _ignore(value: object) -> None:
    """Makes nothing of a value."""


def _parts(value: Any) -> list[Any]:
    if isinstance(value, list | tuple | dict):
        parts = list(value.values()) if isinstance(value, dict) else list(value)
        return parts if len(parts) < _LONG else []
    is_looked_into = isinstance(value, Dataset) or (callable(value) and not isinstance(value, type))
    return list(getattr(value, "__dict__", {}).values()) if is_looked_into else []
