"""What costs time is done so seldom that it costs little."""

from types import SimpleNamespace

import pytest

from plt_nn.features.plain_loader import sample_guard
from plt_nn.features.plain_loader.sample_guard import Throttle


class Clock:
    """Stands still until it is moved."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(sample_guard, "time", SimpleNamespace(perf_counter=clock))
    return clock


def do(paced: Throttle, clock: Clock, seconds: float) -> None:
    with paced.doing():
        clock.now += seconds


def test_what_is_cheap_is_done_each_time_at_first(clock: Clock) -> None:
    paced, done = Throttle(), 0
    while paced.is_due():
        do(paced, clock, 0.01)
        done += 1
    assert 4 <= done <= 5


def test_what_is_expensive_waits_until_it_takes_a_small_share_of_the_time(clock: Clock) -> None:
    paced = Throttle()
    paced.expect(0.2)
    for _ in range(3):
        clock.now += 9
        assert not paced.is_due()
        clock.now += 2
        assert paced.is_due()
        do(paced, clock, 0.2)


def test_how_long_it_took_counts_not_what_was_expected(clock: Clock) -> None:
    paced = Throttle()
    paced.expect(0.2)
    clock.now += 11
    do(paced, clock, 2.0)
    clock.now += 50
    assert not paced.is_due()
    clock.now += 51
    assert paced.is_due()
