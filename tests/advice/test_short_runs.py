"""Architectures in short runs, on data of which the best kind is known."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from plt_nn.advice.architectures import Architecture, space
from plt_nn.advice.short_runs import rank_architectures
from plt_nn.architectures import MLP
from plt_nn.errors import ConfigError


def test_there_is_something_to_try_for_each_kind_of_input() -> None:
    for shape in ((5,), (12, 3), (1, 8, 8), (3, 32, 32)):
        found = space(shape, 4)
        assert len(set(map(str, found))) == len(found) >= 10
        for one in found[::2]:
            assert one.net(**one.init_args)(torch.zeros(2, *shape)).shape == (2, 4), str(one)
    with pytest.raises(ConfigError, match="expected"):
        space((1, 2, 3, 4), 2)


def linear(lr: float) -> Architecture:
    return Architecture(MLP, {"in_features": 64, "hidden": [], "out_features": 10}, lr, "linear")


def test_what_learns_comes_before_what_does_not() -> None:
    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images[:600] / 16, dtype=torch.float32), torch.tensor(labels[:600])
    found, unfinished = rank_architectures([linear(1e-6), linear(1e-2)], x, y, 10, epochs=8)
    assert unfinished == []
    assert [tried.architecture.lr for tried in found] == [1e-2, 1e-6]
    best, worst = found
    assert best.score > 0.85
    assert best.interval is not None
    assert best.interval[0] < best.score < best.interval[1]
    assert (best.size, worst.size) == (8, 4), "the worse half was dropped after the first round"
    assert len(best.losses) == pytest.approx(150, abs=5), "a quarter is held out"


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rank_architectures([linear(1e-2)], torch.randn(40, 64), torch.arange(40) % 10, 10, epochs=1)
    assert list(tmp_path.iterdir()) == []


def test_numbers_are_predicted_too() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(400, 3, generator=generator)
    y = (2 * x[:, :1] - x[:, 1:2]) + 0.1 * torch.randn(400, 1, generator=generator)
    found, _ = rank_architectures(space((3,), 1)[:4], x, y, None, epochs=8)
    assert found[0].score > 0.9
    assert found[0].interval is None
    np.testing.assert_allclose(found[0].loss, found[0].losses.mean())


def test_what_there_was_no_time_for_is_told() -> None:
    x, y = torch.randn(40, 64), torch.arange(40) % 10
    found, unfinished = rank_architectures([linear(1e-2)], x, y, 10, budget=-1)
    assert found == []
    assert "the time was over" in unfinished[0]


def test_one_that_fails_does_not_stop_the_others() -> None:
    x, y = torch.randn(40, 64), torch.arange(40) % 10
    broken = Architecture(MLP, {"in_features": 63, "hidden": [], "out_features": 10}, 1e-2, "broken")
    found, unfinished = rank_architectures([broken, linear(1e-2)], x, y, 10, epochs=8)
    assert [str(tried.architecture) for tried in found] == [str(linear(1e-2))]
    assert found[0].size == 8, "the rounds go on"
    assert len(unfinished) == 1
    assert "63" in unfinished[0]
