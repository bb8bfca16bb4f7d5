"""Names and values as MLflow takes them."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.utils import validation

from plt_nn.tracking.upload.mlflow_names import mlflow_name, mlflow_value, shortened

NAMES = ["val_loss", "val_acc@5", "f1 (macro)", "a#b", "a//b", "../up", ".", "", "ü/ö", "x" * 300, "/data/x", "a/", " "]


@given(st.one_of(st.text(max_size=300), st.sampled_from(NAMES)))
def test_mlflow_takes_every_name(name: str) -> None:
    accepted = mlflow_name(name, {})
    mlflows: Any = validation
    mlflows._validate_metric_name(accepted)
    mlflows._validate_param_name(accepted)
    mlflows._validate_tag_name(accepted)


@given(st.lists(st.text(alphabet="ab#@/.", max_size=4), unique=True, max_size=30))
def test_different_names_stay_different_and_keep_their_own(names: list[str]) -> None:
    known: dict[str, str] = {}
    first = [mlflow_name(name, known) for name in names]
    assert len(set(first)) == len(names)
    assert [mlflow_name(name, known) for name in names] == first


@pytest.mark.parametrize("name", ["val_loss", "lr/stage 1", "best/val_f1", "a.b-c:d", "épée"])
def test_an_accepted_name_stays(name: str) -> None:
    assert mlflow_name(name, {}) == name


def test_values() -> None:
    assert mlflow_value(1.5) == 1.5
    assert math.isnan(mlflow_value(math.inf))
    assert math.isnan(mlflow_value(-math.inf))
    assert math.isnan(mlflow_value(math.nan))
    assert shortened("abc", 3) == "abc"
    assert shortened("abcd", 3) == "ab…"
