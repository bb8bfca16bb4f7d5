import math

import pytest
import torch

from plt_nn.callbacks.view.epoch_loss import EpochLoss


def test_the_mean_over_many_steps() -> None:
    loss = EpochLoss()
    assert loss.glance() is None
    assert loss.value() is None
    values = torch.arange(1000, dtype=torch.float64).requires_grad_()
    for number, value in enumerate(values):
        loss.add({"loss": value} if number % 2 else value)
        if number == 10:
            assert loss.glance() == pytest.approx(5.0)
    assert loss.value() == pytest.approx(499.5)
    loss.reset()
    assert loss.value() is None


def test_what_is_no_loss_is_passed_over_and_nan_shows() -> None:
    loss = EpochLoss()
    for outputs in (None, {}, {"loss": None}, torch.ones(3), 7):
        loss.add(outputs)
    assert loss.value() is None
    loss.add(torch.tensor(1.0))
    loss.add(torch.tensor(math.nan))
    assert math.isnan(loss.value() or 0.0)
