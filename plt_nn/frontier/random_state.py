"""Generators of random numbers: whether something has drawn from them, and restoring their states."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

_DEEP = 4
_LONG = 100  # entries; a longer list is not searched for generators


def generator_states() -> tuple[object, ...]:
    """The states of the global generators of torch (of this process's GPU as well), numpy and Python, to compare."""
    on_devices = (torch.cuda.get_rng_state(device).numpy().tobytes() for device in _devices())
    _, keys, *places = np.random.get_state()
    numpy = (np.asarray(keys).tobytes(), *places)
    return torch.get_rng_state().numpy().tobytes(), *on_devices, numpy, random.getstate()


@contextmanager
def generators_restored(*owners: object) -> Iterator[Callable[[], bool]]:
    """Restores the states of the global generators, and of those that some objects hold.

    Args:
        owners: Data sets, transforms and the like whose own generators are restored, too.

    Yields:
        Says whether something has drawn from a global generator since the beginning.
    """
    restore = [function for owner in owners for function in _own_generators(owner, _DEEP)]
    with torch.random.fork_rng(_devices()):
        before, numpy, python = generator_states(), np.random.get_state(), random.getstate()
        try:
            yield lambda: generator_states() != before
        finally:
            np.random.set_state(numpy)
            random.setstate(python)
            for function in restore:
                function()


def _own_generators(value: Any, deep: int) -> Iterator[Callable[[], Any]]:
    """For each generator among the attributes of an object, and of its transforms, a function that restores it."""
    if isinstance(value, torch.Generator):
        state = value.get_state()
        yield lambda: value.set_state(state)
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
            yield from _own_generators(part, deep - 1)


def _parts(value: Any) -> list[Any]:
    if isinstance(value, list | tuple | dict):
        parts = list(value.values()) if isinstance(value, dict) else list(value)
        return parts if len(parts) < _LONG else []
    is_searched = isinstance(value, Dataset) or (callable(value) and not isinstance(value, type))
    return list(getattr(value, "__dict__", {}).values()) if is_searched else []


def _devices() -> list[int]:
    cuda: Any = torch.cuda
    return [cuda.current_device()] if cuda.is_initialized() else []
