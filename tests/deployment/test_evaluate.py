import json
import shutil
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
    assert "Left out, because it cannot be read: again/light/bad.png" in err
    Path("again/lihgt").mkdir()
    Image.new("RGB", (8, 8)).save("again/lihgt/a.png")
    status, _, err = call("evaluate", "--model", "last", "--data", "again")
    assert status == 1
    assert "'lihgt' is no class of the model. Did you mean 'light'" in err
    status, out, _ = call("evaluate", "--model", "last", "--data", "again", "--known-only", "--resamples", 0)
    assert status == 0
    assert "the model does not know: lihgt" in out


def test_images_that_were_trained_on_are_told(in_copy: Fitted, call: Call) -> None:
    def told(*words: str) -> tuple[str, object]:
        fixed = ("evaluate", "--model", "last", "--format", "json", "--resamples", "0")
        status, out, err = call(*fixed, *words)
        assert status == 0, err
        return err, json.loads(out)["trained_on"]

    assert "Warning: All 14 images were trained on" in told("--data", "photos")[0]  # they are drawn as those are
    for file in Path("photos/val").rglob("*.png"):
        file.write_bytes(file.read_bytes() + b"another")
    err, found = told("--data", "photos")
    assert found == {"found": 0, "looked_up": 14, "samples": 14}
    assert "trained on" not in err
    train = Path("photos/train").rename("other")
    err, found = told("--data", "other")
    assert "Warning: All 24 images were trained on" in err
    for number, file in enumerate(sorted(train.rglob("*/0[0-2].png"))):  # under other names
        shutil.copy(file, Path("photos/val", file.parent.name, f"new{number}.png"))
    err, found = told("--data", "photos")
    assert found == {"found": 6, "looked_up": 20, "samples": 20}
    assert "Warning: 6 of the 20 images were trained on, so these results are partly memory" in err
    card = next(in_copy.store.checkpoints.glob("*/*/checkpoints/model.json"))
    card.write_text(json.dumps(json.loads(card.read_text()) | {"trained_on": ""}))  # as of other data modules
    err, found = told("--data", "other")
    assert found is None
    assert "trained on" not in err


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
