import math

import pytest

from plt_nn.callbacks.view.time_left import Cost, batches_left, seconds_left


@pytest.mark.parametrize(
    ("epoch", "done", "an_epoch", "max_epochs", "step", "max_steps", "accumulated", "left"),
    [
        (0, 0, 10, 3, 0, -1, 1, 30),
        (2, 4, 10, 3, 24, -1, 1, 6),
        (3, 0, 10, 3, 30, -1, 1, 0),
        (0, 0, 10, -1, 0, -1, 1, math.inf),
        (0, 0, math.inf, 3, 0, -1, 1, math.inf),
        (3, 0, math.inf, 3, 9, -1, 1, 0),
        (0, 4, math.inf, -1, 4, 100, 1, 96),
        (0, 4, 10, -1, 2, 100, 2, 196),
        (1, 0, 10, 3, 10, 15, 1, 5),
        (1, 0, 10, 9, 20, 15, 1, 0),  # resumed with a limit that is behind
    ],
)
def test_the_first_limit_counts(
    epoch: int,
    done: int,
    an_epoch: float,
    max_epochs: int,
    step: int,
    max_steps: int,
    accumulated: int,
    left: float,
) -> None:
    assert batches_left(epoch, done, an_epoch, max_epochs, step, max_steps, accumulated) == left


def test_in_a_phases_first_epoch_its_own_pace_counts() -> None:
    before = [Cost(0, 100.0, 10)]
    assert seconds_left(before, Cost(1, 4.0, 2), 30) == 60.0
    assert seconds_left(before, Cost(1, 0.0, 0), 30) is None


def test_the_last_epochs_of_the_phase_count_without_its_first() -> None:
    costs = [Cost(0, 100.0, 10), Cost(1, 50.0, 10)]
    assert seconds_left(costs, Cost(1, 9.0, 1), 4) == 20.0  # there is no other yet
    costs += [Cost(1, 20.0, 10), Cost(1, 10.0, 10), Cost(1, 10.0, 10), Cost(1, 10.0, 10)]
    assert seconds_left(costs, Cost(1, 9.0, 1), 4) == 4.0


def test_a_fit_without_an_end_has_no_time_left() -> None:
    assert seconds_left([Cost(None, 1.0, 1)], Cost(None, 1.0, 1), math.inf) is None
