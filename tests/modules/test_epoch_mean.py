"""The mean over an epoch against a plain sum."""

import math

import pytest
import torch

from plt_nn.modules.epoch_mean import EpochMean


def mean_of(values: list[float], weights: list[float], dtype: torch.dtype = torch.float32) -> float:
    mean = EpochMean()
    for value, weight in zip(values, weights, strict=True):
        mean.update(torch.tensor(value, dtype=dtype), weight)
    return float(mean.complete().compute())


def test_a_value_counts_by_its_weight() -> None:
    assert mean_of([1.0, 4.0, 10.0], [2.0, 1.0, 0.5]) == pytest.approx((2 + 4 + 5) / 3.5)


def test_weights_may_be_tensors() -> None:
    mean = EpochMean()
    mean.update(torch.tensor(1.0), torch.tensor(2.0))
    mean.update(torch.tensor(4.0), 1.0)
    assert float(mean.complete().compute()) == pytest.approx(2.0)


@pytest.mark.parametrize("count", [255, 256, 257, 1000])
def test_any_number_of_updates(count: int) -> None:
    values = [math.sin(number) + 2 for number in range(count)]
    weights = [1.0 + number % 7 for number in range(count)]
    total = math.fsum(value * weight for value, weight in zip(values, weights, strict=True))
    assert mean_of(values, weights) == pytest.approx(total / math.fsum(weights), rel=1e-6)


@pytest.mark.parametrize("place", [0, 299])
def test_a_loss_that_is_not_a_number_shows(place: int) -> None:
    values = [1.0] * 300
    values[place] = math.nan
    assert math.isnan(mean_of(values, [1.0] * 300))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_losses_do_not_round_the_weights(dtype: torch.dtype) -> None:
    assert mean_of([0.0, 1.0], [2049.0, 3.0], dtype) == pytest.approx(3 / 2052, rel=1e-6)


def test_completing_twice_counts_once_and_a_reset_forgets() -> None:
    mean = EpochMean()
    mean.update(torch.tensor(1.0), 1.0)
    mean.complete()
    mean.update(torch.tensor(3.0), 1.0)
    assert float(mean.complete().compute()) == pytest.approx(2.0)
    assert float(mean.complete().compute()) == pytest.approx(2.0)
    mean.metric.reset()
    mean.update(torch.tensor(5.0), 1.0)
    assert float(mean.complete().compute()) == pytest.approx(5.0)


def test_it_keeps_no_graph_alive() -> None:
    mean = EpochMean()
    loss = torch.ones(1, requires_grad=True).sum()
    mean.update(loss, 1.0)
    assert not mean.complete().compute().requires_grad
