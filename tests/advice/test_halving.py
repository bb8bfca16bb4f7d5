"""Rounds of more and more samples or epochs, also when time runs out."""

from dataclasses import dataclass

import numpy as np
import pytest

from plt_nn.advice.halving import halving, nested_order, rungs, survivors
from plt_nn.advice.probes.probe import LinearProbe, is_worse


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


@dataclass(frozen=True)
class Told:
    """A candidate that is right on the first of a hundred samples."""

    name: str
    right: int
    size: int = 100

    @property
    def probe(self) -> LinearProbe:
        sure = np.tile([0.9, 0.1], (100, 1))
        sure[self.right :] = [0.1, 0.9]
        return LinearProbe(sure, np.zeros(100, dtype=np.int64))

    @property
    def loss(self) -> float:
        return self.probe.log_loss

    def is_worse(self, other: "Told") -> bool:
        return is_worse(self.probe, other.probe)


def told(**right: int) -> dict[str, Told]:
    return {name: Told(name, number) for name, number in right.items()}


def test_the_better_half_goes_on_and_who_cannot_be_told_from_the_best() -> None:
    assert survivors(told(a=95, b=94, c=93, d=60, e=50, f=92)) == ["a", "b", "c", "f"]
    assert survivors(told(a=95, z=20)) == ["a"]
    assert survivors(told(z=20)) == ["z"]


RIGHT = {"large": 94, "small": 95, "poor": 40}  # the samples cannot tell the first two apart


class Clock:
    """Judges by what is written above, until its time is over."""

    def __init__(self, until: int = 99) -> None:
        self.until, self.asked = until, list[tuple[str, int, int | None]]()

    def judge(self, name: str, size: int, earlier: Told | None) -> Told:
        self.asked.append((name, size, earlier.size if earlier else None))
        if name not in RIGHT:
            raise ValueError(f"{name} has no weights")
        return Told(name, RIGHT[name], size)

    def is_over(self) -> bool:
        return len(self.asked) >= self.until

    def ranked(self, *names: str) -> tuple[list[tuple[str, int]], list[str]]:
        found, left_out = halving(names, [120, 240], self.judge, self.is_over, "on {} images")
        return [(one.name, one.size) for one in found], left_out


def test_all_rounds() -> None:
    clock = Clock()
    assert clock.ranked("poor", "large", "small") == ([("small", 240), ("large", 240), ("poor", 120)], [])
    first = [("poor", 120, None), ("large", 120, None), ("small", 120, None)]
    assert clock.asked == [*first, ("large", 240, 120), ("small", 240, 120)], "in the given order, without the worst"


def test_one_alone_is_judged_once() -> None:
    clock = Clock()
    assert clock.ranked("small") == ([("small", 240)], [])
    assert clock.asked == [("small", 240, None)]


@pytest.mark.parametrize("until", [2, 3])
def test_a_round_that_is_not_finished_says_nothing(until: int) -> None:
    ranked, left_out = Clock(until).ranked("large", "small")
    assert ranked == [("small", 120), ("large", 120)]
    sentence = "The round on 240 images was not finished: the order is that of the round before."
    assert left_out == (["small: not tried on 240 images, because the time was over.", sentence] if until == 3 else [])


def test_of_a_first_round_that_is_not_finished_the_first_ones_count() -> None:
    ranked, left_out = Clock(1).ranked("small", "large")
    assert ranked == [("small", 120)]
    assert left_out == ["large: not tried on 120 images, because the time was over."]


def test_one_that_fails_does_not_stop_the_others() -> None:
    ranked, left_out = Clock().ranked("absent", "large", "small")
    assert ranked == [("small", 240), ("large", 240)]
    assert left_out == ["absent: absent has no weights"]
