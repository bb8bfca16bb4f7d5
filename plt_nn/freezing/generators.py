"""The generators of random numbers of torch, numpy and Python: that nothing has drawn of them."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


@contextmanager
def generators_restored() -> Iterator[Callable[[], bool]]:
    """Puts the generators back as they were.

    Yields:
        What tells whether random numbers have been drawn since the beginning.
    """
    cuda: Any = torch.cuda
    devices = [cuda.current_device()] if cuda.is_initialized() else []
    with torch.random.fork_rng(devices):
        before, numpy, python = _states(devices), np.random.get_state(), random.getstate()
        try:
            yield lambda: _states(devices) != before
        finally:
            np.random.set_state(numpy)
            random.setstate(python)


def _states(devices: list[int]) -> tuple[object, ...]:
    _, keys, *places = np.random.get_state()
    on_devices = (torch.cuda.get_rng_state(device).numpy().tobytes() for device in devices)
    numpy = (np.asarray(keys).tobytes(), *places)
    return torch.get_rng_state().numpy().tobytes(), *on_devices, numpy, random.getstate()
