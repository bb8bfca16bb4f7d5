"""What an epoch has taken by a clock set by hand, and the remaining time."""

import math

import pytest
import torch

from plt_nn.callbacks.view.epoch_progress import EpochCost, EpochLoss, EpochProgress, remaining_seconds


def test_an_epoch_by_a_clock_set_by_hand() -> None:
    now = 100.0
    epoch = EpochProgress(3, clock=lambda: now)
    assert epoch.speed() is None
    for batch in range(2):
        now += 2
        epoch.add(4, torch.tensor(float(batch)), batch + 5)
    assert (epoch.number, epoch.done, epoch.batches, epoch.loss.mean()) == (3, 7, 2, 0.5)
    assert epoch.speed() == 2.0
    epoch.training.stop()
    now += 100  # a validation
    epoch.training.start()
    for batch in range(40):  # faster from now on
        now += 1
        epoch.add(4, None, batch)
        epoch.speed()
    assert epoch.speed() == 4.0, "the recent speed"
    epoch.end()
    now += 1000
    assert epoch.has_ended
    assert epoch.whole.seconds == 144
    assert epoch.speed() == pytest.approx(168 / 44), "that of the whole epoch, without its validation"


def test_in_a_phases_first_epoch_its_own_pace_counts() -> None:
    before = [EpochCost(0, 100.0, 10)]
    assert remaining_seconds(before, EpochCost(1, 4.0, 2), 30) == 60.0
    assert remaining_seconds(before, EpochCost(1, 0.0, 0), 30) is None


def test_the_last_epochs_of_the_phase_count_without_its_first() -> None:
    costs = [EpochCost(0, 100.0, 10), EpochCost(1, 50.0, 10)]
    assert remaining_seconds(costs, EpochCost(1, 9.0, 1), 4) == 20.0  # there is no other yet
    costs += [EpochCost(1, 20.0, 10), EpochCost(1, 10.0, 10), EpochCost(1, 10.0, 10), EpochCost(1, 10.0, 10)]
    assert remaining_seconds(costs, EpochCost(1, 9.0, 1), 4) == 4.0


def test_a_fit_without_an_end_has_no_remaining_time() -> None:
    assert remaining_seconds([EpochCost(None, 1.0, 1)], EpochCost(None, 1.0, 1), math.inf) is None


def test_the_mean_over_many_steps() -> None:
    loss = EpochLoss()
    assert loss.latest() is None
    assert loss.mean() is None
    values = torch.arange(1000, dtype=torch.float64).requires_grad_()
    for number, value in enumerate(values):
        loss.add({"loss": value} if number % 2 else value)
        if number == 10:
            assert loss.latest() == pytest.approx(5.0)
    assert loss.mean() == pytest.approx(499.5)


def test_what_is_no_loss_is_passed_over_and_nan_shows() -> None:
    loss = EpochLoss()
    for outputs in (None, {}, {"loss": None}, torch.ones(3), 7):
        loss.add(outputs)
    assert loss.mean() is None
    loss.add(torch.tensor(1.0))
    loss.add(torch.tensor(math.nan))
    assert math.isnan(loss.mean() or 0.0)
