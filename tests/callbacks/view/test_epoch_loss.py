import math

import pytest
import torch

from plt_nn.callbacks.view.epoch_loss import EpochLoss


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
