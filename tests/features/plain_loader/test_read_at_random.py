"""Whether reading a sample gives the same each time."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from plt_nn.features.plain_loader.probe import is_read_at_random

own = np.random.default_rng(0)

READS: dict[str, tuple[Callable[[int], Any], bool]] = {
    "a tensor": (lambda number: torch.full((3,), number), False),
    "a structure": (lambda number: {"x": np.full(3, number), "y": (number, "name")}, False),
    "torch": (lambda number: number + torch.rand(2), True),
    "numpy": (lambda number: number + np.random.rand(2), True),
    "python": (lambda number: number + random.random(), True),
    "drawn and thrown away": (lambda number: (torch.rand(1), number)[1], True),
    "a generator of its own": (lambda number: own.random(2), True),
    "arrays of other sizes": (lambda number: np.zeros(int(own.integers(1, 1 << 30)) % 1009 + 1), True),
    "only some samples": (lambda number: torch.rand(1) if number > 5 else torch.zeros(1), True),
}


@pytest.mark.parametrize("name", READS)
def test_randomness_is_found_and_the_generators_are_put_back(name: str) -> None:
    read, expected = READS[name]
    before = (torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate())  # type: ignore[index]
    assert is_read_at_random(read, 20) is expected
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # type: ignore[index]
    assert random.getstate() == before[2]


def test_a_few_samples_are_read() -> None:
    seen: list[int] = []
    assert not is_read_at_random(lambda number: seen.append(number), 1_000_000)
    assert len(seen) <= 16
    assert max(seen) < 1_000_000


def test_one_sample_is_enough() -> None:
    assert not is_read_at_random(lambda number: [7][number], 1)
