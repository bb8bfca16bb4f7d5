from collections.abc import Callable
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer

from plt_nn.data import SyntheticRegressionData
from plt_nn.errors import ConfigError


def drawn(name: str = "train", **arguments: Any) -> tuple[torch.Tensor, torch.Tensor]:
    data = SyntheticRegressionData(**arguments)
    data.setup()
    return data.splits[name]


def test_it_is_the_law_of_the_lesson() -> None:
    x, y = drawn(noise=0.0)
    assert (x.shape, y.shape, x.dtype, y.dtype) == ((100, 2), (100, 1), torch.float32, torch.float32)
    assert torch.allclose(y, (2 * x[:, 0] ** 3 + 0.5 * x[:, 1] ** 2).unsqueeze(1))


def test_the_noise_is_normal_with_the_given_deviation() -> None:
    x, y = drawn(samples=20_000)
    residual = y[:, 0] - 2 * x[:, 0] ** 3 - 0.5 * x[:, 1] ** 2
    assert residual.mean().abs() < 0.02
    assert residual.std() == pytest.approx(0.5, abs=0.02)
    assert x.std(0).tolist() == pytest.approx([1.0, 1.0], abs=0.03)


def test_no_two_draws_are_alike_unless_the_seed_is() -> None:
    draws = [drawn(name, data_seed=seed)[0] for seed in (0, 1, 2) for name in ("train", "val")]
    assert len({draw.sum().item() for draw in draws}) == 6
    assert torch.equal(drawn(data_seed=1)[0], draws[2])


def test_it_trains(trainer: Callable[..., Trainer], recorder: Callable[..., Any]) -> None:
    module, data = recorder(), SyntheticRegressionData(samples=10, val_samples=7, batch_size=4)
    trainer().fit(module, data)
    assert [len(batch) for batch in module.indices("train")] == [4, 4, 2]
    assert module.read("val") == list(range(7))
    assert (data.num_classes, data.class_names, data.num_features) == (None, None, 2)
    assert data.describe() == {"noise": 0.5, "data_seed": 0, "train_samples": 10, "val_samples": 7}


@pytest.mark.parametrize("wrong", [{"samples": 0}, {"val_samples": 0}, {"noise": -1.0}])
def test_impossible_numbers_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="expected at least one sample of each kind"):
        SyntheticRegressionData(**wrong)
