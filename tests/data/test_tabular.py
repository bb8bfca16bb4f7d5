from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch import Trainer

from plt_nn.data import TabularData
from plt_nn.errors import ConfigError, DataError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Forty rows: a number, a colour, a class and a price."""
    random = np.random.default_rng(0)
    number = random.normal(10.0, 3.0, 40)
    frame = pd.DataFrame(
        {
            "number": number,
            "colour": random.choice(["blue", "red"], 40),
            "kind": np.where(np.arange(40) % 4 == 0, "rare", "common"),
            "price": 2 * number + 1,
        }
    )
    frame.to_csv(tmp_path / "table.csv", index=False)
    return tmp_path / "table.csv"


def test_classification_is_stratified_and_standardised_on_training_rows(path: Path) -> None:
    data = TabularData(path, "kind", numeric=["number"], categorical=["colour"], test_fraction=0.1)
    data.setup()
    assert data.class_counts == {"train": [21, 7], "val": [6, 2], "test": [3, 1]}
    assert (data.num_classes, data.class_names) == (2, ["common", "rare"])
    assert (data.num_features, data.feature_names) == (3, ["number", "colour=blue", "colour=red"])
    x, y = data.splits["train"]
    assert (x.dtype, y.dtype, x.shape, y.shape) == (torch.float32, torch.int64, (28, 3), (28,))
    assert x[:, 0].mean().item() == pytest.approx(0.0, abs=1e-5)
    assert x[:, 0].std(correction=0).item() == pytest.approx(1.0, abs=1e-5)
    assert data.splits["val"].x[:, 0].mean().abs() > 1e-3
    assert x[:, 1:].sum(1).tolist() == [1.0] * 28


def test_regression_keeps_the_target_as_it_is(path: Path) -> None:
    data = TabularData(path, "price", task="regression", numeric=["number"])
    data.setup()
    assert (data.num_classes, data.class_names, data.class_counts) == (None, None, None)
    x, y = data.splits["train"]
    assert (y.dtype, y.shape) == (torch.float32, (32, 1))
    assert data.encoder is not None
    number = x[:, :1] * data.encoder.deviations["number"] + data.encoder.means["number"]
    assert torch.allclose(y, 2 * number + 1, atol=1e-4)


def test_it_trains_tests_and_predicts(
    path: Path, trainer: Callable[..., Trainer], recorder: Callable[..., Any]
) -> None:
    module = recorder()
    data = TabularData(path, "kind", categorical=["colour"], test_fraction=0.1, batch_size=16)
    trainer().fit(module, data)
    trainer().test(module, data, verbose=False)
    trainer().predict(module, data)
    assert [len(batch) for batch in module.indices("train")] == [16, 12]
    assert module.read("val") == list(range(8))
    assert module.indices("test") == module.indices("predict") == [[0, 1, 2, 3]]
    assert data.describe() == {
        "path": str(path),
        "target": "kind",
        "classes": 2,
        "features": 4,
        "train_samples": 28,
        "val_samples": 8,
        "test_samples": 4,
    }


def test_nothing_held_out(path: Path, trainer: Callable[..., Trainer], recorder: Callable[..., Any]) -> None:
    module = recorder()
    data = TabularData(path, "kind", numeric=["number"], val_fraction=0.0)
    trainer().fit(module, data)
    assert (module.seen["val"], data.class_counts) == ([], {"train": [30, 10]})


def test_the_split_depends_on_its_seed_alone(path: Path) -> None:
    def validation(seed: int) -> torch.Tensor:
        data = TabularData(path, "price", task="regression", numeric=["number"], split_seed=seed)
        data.setup()
        return data.splits["val"].y

    assert torch.equal(validation(1), validation(1))
    assert not torch.equal(validation(1), validation(2))


def test_faults_are_told_together_and_name_the_table(path: Path) -> None:
    path.write_text("a,city,y\n1,Rome,0\n,Oslo,1\n")
    with pytest.raises(DataError) as caught:
        TabularData(path, "y").setup()
    first, *faults = str(caught.value).splitlines()
    assert first == f"The table {path} cannot be used:"
    assert [fault[:18] for fault in faults] == ["  - column 'city' ", "  - missing values"]


def test_a_class_too_small_to_split_is_named(path: Path) -> None:
    path.write_text("a,y\n1,no\n2,no\n3,no\n4,yes\n")
    with pytest.raises(DataError, match=r"too few samples of the class\(es\) 'yes' \(1 of 'yes'\)"):
        TabularData(path, "y").setup()


def test_impossible_fractions_are_refused_at_once() -> None:
    with pytest.raises(ConfigError, match=r"test_fraction=1\.0"):
        TabularData("nowhere.csv", "y", test_fraction=1.0)
