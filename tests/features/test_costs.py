"""Caching features pays where the passes to come save more than writing costs."""

import pytest

from plt_nn.features.costs import Costs
from plt_nn.text import byte_size


def test_it_pays_where_reading_back_is_cheaper_often_enough() -> None:
    assert Costs(compute=1.0, write=0.5, read=0.1, passes=2).pays()
    assert not Costs(compute=1.0, write=0.95, read=0.1, passes=2).pays()
    assert Costs(compute=1.0, write=0.95, read=0.1, passes=3).pays()


def test_it_never_pays_for_the_last_pass_or_where_reading_costs_more() -> None:
    assert not Costs(compute=1.0, write=0.0, read=0.0, passes=1).pays()
    assert not Costs(compute=0.1, write=0.0, read=0.2, passes=float("inf")).pays()
    assert not Costs(compute=0.1, write=0.0, read=0.1, passes=float("inf")).pays()


def test_it_pays_in_an_endless_training() -> None:
    costs = Costs(compute=1.0, write=100.0, read=0.9, passes=float("inf"))
    assert costs.pays()
    assert costs.in_words() == "1000.0 ms a batch to compute, 900.0 ms to read back"


def test_words_tell_how_often_it_will_be_read() -> None:
    assert Costs(0.0123, 0.0, 0.0004, 5).in_words() == "12.3 ms a batch to compute, 0.4 ms to read back, 4 more passes"


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 B"),
        (3, "3 B"),
        (999, "999 B"),
        (1000, "1.0 KB"),
        (12_345, "12 KB"),
        (5e6, "5.0 MB"),
        (2.5e12, "2500.0 GB"),
    ],
)
def test_sizes_in_words(count: float, words: str) -> None:
    assert byte_size(count) == words
