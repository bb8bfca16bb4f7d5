"""Rounds of more and more samples."""

import numpy as np

from plt_nn.advice.probes.halving import nested_order, rungs, survivors
from plt_nn.advice.probes.probe import LinearProbe


def test_each_round_has_twice_as_many_and_the_last_has_all() -> None:
    assert rungs(244, 120) == [122, 244]
    assert rungs(100, 120) == [100]
    assert rungs(10_000, 120) == [1250, 2500, 5000, 10_000]
    assert rungs(64, 4, most=5) == [4, 8, 16, 32, 64]


def test_each_beginning_of_the_order_holds_all_classes_in_their_shares() -> None:
    labels = np.repeat([0, 1, 2], [100, 50, 10])
    order = nested_order(labels)
    assert sorted(order) == list(range(160))
    np.testing.assert_allclose(np.bincount(labels[order[:80]], minlength=3), [50, 25, 5], atol=1)
    np.testing.assert_array_equal(order, nested_order(labels))


def told(right: int) -> LinearProbe:
    """A probe that is right on the first of a hundred samples."""
    sure = np.tile([0.9, 0.1], (100, 1))
    sure[right:] = [0.1, 0.9]
    return LinearProbe(sure, np.zeros(100, dtype=np.int64))


def test_the_better_half_goes_on_and_who_cannot_be_told_from_the_best() -> None:
    probes = {"a": told(95), "b": told(94), "c": told(93), "d": told(60), "e": told(50), "f": told(92)}
    assert survivors(probes) == ["a", "b", "c", "f"]
    assert survivors({"a": told(95), "z": told(20)}) == ["a"]
    assert survivors({"z": told(20)}) == ["z"]
