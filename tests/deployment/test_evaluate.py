import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from mlflow.tracking import MlflowClient
from PIL import Image

from tests.deployment.conftest import Fitted

Call = Callable[..., tuple[int, str, str]]


def test_the_trainers_numbers_are_found_again(in_copy: Fitted, call: Call) -> None:
    status, out, err = call(
        "evaluate", "--model", "last", "--data", "photos", "--format", "json", "--out", "report", "--resamples", 100
    )
    assert status == 0, err
    found = json.loads(out)
    runs = MlflowClient(in_copy.store.uri).search_runs(["1"])
    reached = runs[0].data.metrics
    assert found["samples"] == len(in_copy.val)
    for ours, theirs in (("log_loss", "val_loss"), ("accuracy", "val_acc"), ("ece", "val_ece")):
        assert found["metrics"][ours]["value"] == pytest.approx(reached[f"best/{theirs}"], abs=1e-5)
    assert sum(map(sum, found["confusion"])) == len(in_copy.val)
    files = {path.name for path in Path("report").iterdir()}
    assert {"confusion_matrix.png", "calibration.png", "evaluation.json", "predictions.csv"} <= files
    assert json.loads(Path("report/evaluation.json").read_text()) == found
    assert len(pd.read_csv("report/predictions.csv")) == len(in_copy.val)


def test_classes_are_matched_by_name(in_copy: Fitted, call: Call) -> None:
    Path("again").mkdir()
    Path("photos/val/light").rename("again/light")  # alone, so that it would be the first class by its place
    Path("again/light/bad.png").write_bytes(b"words")
    status, out, err = call("evaluate", "--model", "last", "--data", "again", "--resamples", 0)
    assert status == 0, err
    assert "7 images in again" in out
    assert "No images of: dark" in out
    assert "Left out, for it cannot be read: again/light/bad.png" in err
    Path("again/lihgt").mkdir()
    Image.new("RGB", (8, 8)).save("again/lihgt/a.png")
    status, _, err = call("evaluate", "--model", "last", "--data", "again")
    assert status == 1
    assert "'lihgt'. Did you mean 'light'" in err
    status, out, _ = call("evaluate", "--model", "last", "--data", "again", "--known-only", "--resamples", 0)
    assert status == 0
    assert "the model knows no: lihgt" in out


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--data", "photo"], "There is no folder photo. Did you mean 'photos'"),
        (["--data", "photos", "--split", "test"], "no folder for 'test'"),
        (["--data", "photos/val/dark"], "has no images in folders named like"),
    ],
)
def test_mistakes_are_told(words: list[str], reason: str, in_copy: Fitted, call: Call) -> None:
    status, _, err = call("evaluate", "--model", "last", *words)
    assert status != 0
    assert reason in err
