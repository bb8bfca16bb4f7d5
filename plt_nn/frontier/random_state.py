"""The generators of random numbers of torch, numpy and Python: whether somebody has drawn, and putting them back."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def generator_states() -> tuple[object, ...]:
    """Where the generators of this process have got to, that of its GPU included; another one if anything was drawn."""
    devices = _devices()
    on_devices = (torch.cuda.get_rng_state(device).numpy().tobytes() for device in devices)
    _, keys, *places = np.random.get_state()
    numpy = (np.asarray(keys).tobytes(), *places)
    return torch.get_rng_state().numpy().tobytes(), *on_devices, numpy, random.getstate()


@contextmanager
def generators_restored() -> Iterator[Callable[[], bool]]:
    """Puts the generators back as they were.

    Yields:
        What tells whether random numbers have been drawn since the beginning.
    """
    with torch.random.fork_rng(_devices()):
        before, numpy, python = generator_states(), np.random.get_state(), random.getstate()
        try:
            yield lambda: generator_states() != before
        finally:
            np.random.set_state(numpy)
            random.setstate(python)


def _devices() -> list[int]:
    cuda: Any = torch.cuda
    return [cuda.current_device()] if cuda.is_initialized() else []
