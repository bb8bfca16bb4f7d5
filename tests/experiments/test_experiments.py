"""Every experiment says what it is for and what it reaches; the small ones are run and must reach it."""

import json
import re
from pathlib import Path

import pytest

from plt_nn.cli.main import main

FOLDER = Path(__file__).parents[2] / "experiments"
FILES = sorted(FOLDER.glob("*.yaml"))
SMALL = [file for file in FILES if file.stem.startswith("digits_")]
PHOTOS = FOLDER / "finetune_photos.yaml"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_header_is_complete(file: Path) -> None:
    header = "".join(line for line in file.read_text().splitlines(keepends=True) if line.startswith("#"))
    for key in ("Goal", "Command", "Expected", "Seed"):
        assert re.search(rf"^# {key}: ", header, re.MULTILINE), key
    assert f"plt-nn fit --config experiments/{file.name}" in header
    assert re.search(r"Expected: +(val_acc|best val_loss \(MSE\)) \d", header), "the figure that a run has reached"
    seed = re.search(r"^# Seed: +(\d+)", header, re.MULTILINE)
    assert seed is not None
    assert f"seed_everything: {seed[1]}\n" in file.read_text()


def reached(file: Path, *arguments: str) -> tuple[float, float]:
    """The accuracy that a header tells, and the one that is reached now."""
    expected = re.search(r"val_acc (0\.\d+)", file.read_text())
    assert expected is not None
    assert main(["fit", "--config", str(file), "--trainer.enable_progress_bar", "false", *arguments]) == 0
    summary = json.loads(next(Path().rglob("summary.json")).read_text())
    return float(expected[1]), float(summary["val_acc there"])


# Another processor rounds otherwise: a few images of 360, or of 153, may fall to the other side.
@pytest.mark.slow
@pytest.mark.parametrize("file", SMALL, ids=lambda file: file.stem)
def test_a_small_experiment_reaches_its_figure(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    expected, found = reached(file)
    assert found == pytest.approx(expected, abs=0.02)


@pytest.mark.slow
@pytest.mark.photos
def test_photographs_are_told_apart(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    expected, found = reached(PHOTOS, "--data.root", str(photos))
    assert found == pytest.approx(expected, abs=0.02)
