"""Which way a metric gets better, and where it was best."""

import math

import numpy as np
import pytest

from plt_nn.errors import ConfigError
from plt_nn.reports.metric import best_value, better, chosen_metric
from plt_nn.tracking.read.runs import Point, RunRecord, history_of


def run(*names: str, **params: str) -> RunRecord:
    told = {name.replace("__", "."): value for name, value in params.items()}
    return RunRecord("id", "run", "flowers", "FINISHED", 0, params=told, last={n: Point(1.0, 1, 1) for n in names})


@pytest.mark.parametrize(
    "name", ["val_loss", "loss", "val/loss", "val_mae", "test_rmse", "val_ece", "top1_error", "nll"]
)
def test_names_that_should_be_low(name: str) -> None:
    assert better(name, []) == "min"


@pytest.mark.parametrize("name", ["val_acc", "accuracy", "val/f1", "AUROC", "val_map50", "IoU", "val_top5", "test_r2"])
def test_names_that_should_be_high(name: str) -> None:
    assert better(name, []) == "max"


@pytest.mark.parametrize("name", ["flower", "tower", "placebo", "score"])
def test_names_that_tell_nothing(name: str) -> None:
    with pytest.raises(ConfigError, match="--mode"):
        better(name, [])


def test_what_a_run_says_comes_before_its_name() -> None:
    said = run("val_loss", trainer__callbacks__0__monitor="val_loss", trainer__callbacks__0__mode="max")
    assert better("val_loss", [said]) == "max"
    assert better("val_loss", [said], "min") == "min"


def test_a_validation_loss_is_compared_unless_the_runs_sought_another() -> None:
    assert chosen_metric([run("train_loss", "val_loss", "epoch")], None) == "val_loss"
    with pytest.raises(ConfigError, match=r"--metric.*The runs have score"):
        chosen_metric([run("score", "epoch", "lr/head")], None)


def test_of_rows_with_the_same_step_the_latest_counts() -> None:
    history = history_of([(2, 0.1, 10), (1, 0.5, 5), (2, 0.3, 20), (3, math.nan, 30)])
    assert history.steps.tolist() == [1, 2, 3]
    assert history.values.tolist()[:2] == [0.5, 0.3]
    assert best_value(history, "min") == (0.3, 2)
    assert best_value(history, "max") == (0.5, 1)
    assert best_value(history_of([(1, math.nan, 1)]), "min") is None
    assert len(history_of(np.empty((0, 3))).steps) == 0
