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


def filled(count: int, batches_from: int = 0, mean: EpochMean | None = None) -> EpochMean:
    mean = mean or EpochMean()
    for batch in range(batches_from, count):
        mean.update(torch.tensor(math.sin(batch) + 2, dtype=torch.float32), 1.0 + batch % 7, batch)
    return mean


@pytest.mark.parametrize("saved_at", [0, 1, 255, 256, 257, 300, 512, 600])
def test_a_mean_goes_on_from_its_sums_bit_for_bit(saved_at: int) -> None:
    resumed = EpochMean()
    resumed.add_sums(filled(saved_at).sums(saved_at))
    assert torch.equal(filled(600, saved_at, resumed).complete().compute(), filled(600).complete().compute())


@pytest.mark.parametrize("batches", [3, 256, 257])
def test_the_sums_leave_out_the_batch_in_work(batches: int) -> None:
    resumed = EpochMean()
    resumed.add_sums(filled(batches + 1).sums(batches))
    assert torch.equal(filled(600, batches, resumed).complete().compute(), filled(600).complete().compute())


def test_taking_the_sums_changes_nothing() -> None:
    mean = filled(300)
    mean.sums(300)
    assert torch.equal(filled(600, 300, mean).complete().compute(), filled(600).complete().compute())


def test_the_sums_of_several_processes_add_up() -> None:
    mean = EpochMean()
    for count in (300, 0, 7):
        mean.add_sums(filled(count).sums(count))
    values = [(math.sin(number) + 2, 1.0 + number % 7) for count in (300, 7) for number in range(count)]
    total = math.fsum(value * weight for value, weight in values)
    assert float(mean.complete().compute()) == pytest.approx(
        total / math.fsum(weight for _, weight in values), rel=1e-6
    )


def test_sums_that_are_not_numbers_show_again() -> None:
    mean, resumed = EpochMean(), EpochMean()
    mean.update(torch.tensor(math.nan), 1.0)
    mean.complete()
    resumed.add_sums(mean.sums(1))
    assert math.isnan(resumed.complete().compute())


def test_a_mean_that_is_reset_is_empty() -> None:
    mean = filled(300)
    mean.reset()
    assert torch.equal(mean.sums(300), torch.zeros(1, 2))
