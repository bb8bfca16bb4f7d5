"""Every experiment says what it is for and what it reaches; the small ones are run and must reach it."""

import json
import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests import warm
from tests.deliveries import until_all_delivered

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


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    """Two fits at a time: nets this small keep no two cores busy."""
    with ThreadPoolExecutor(2) as pool:
        yield pool
        pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="module")
def photos_run(photos: Path, pool: ThreadPoolExecutor, tmp_path_factory: pytest.TempPathFactory) -> Future[float]:
    """The accuracy that the photographs will have reached."""
    return pool.submit(reached, PHOTOS, tmp_path_factory.mktemp(PHOTOS.stem), "--data.root", str(photos))


@pytest.fixture(scope="module")
def small_runs(
    request: pytest.FixtureRequest, pool: ThreadPoolExecutor, tmp_path_factory: pytest.TempPathFactory
) -> dict[Path, Future[float]]:
    """The accuracy that each small experiment whose test was asked for will have reached."""
    asked = " ".join(item.name for item in request.session.items)
    files = [file for file in SMALL if f"figure[{file.stem}]" in asked]
    return {file: pool.submit(reached, file, tmp_path_factory.mktemp(file.stem)) for file in files}


def reached(file: Path, folder: Path, *arguments: str) -> float:
    """Runs an experiment in a folder, and gives the accuracy that it tells."""
    words = ["-m", "plt_nn", "fit", "--config", file, "--trainer.enable_progress_bar", "false", *arguments]
    done = warm.run(words, cwd=folder)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    until_all_delivered(folder / "mlruns")
    summary = json.loads(next(folder.rglob("summary.json")).read_text())
    return float(summary["val_acc there"])


def told(file: Path) -> float:
    """The accuracy that a header tells."""
    expected = re.search(r"val_acc (0\.\d+)", file.read_text())
    assert expected is not None
    return float(expected[1])


# Another processor rounds otherwise: a few images of 360, or of 153, may fall to the other side.
@pytest.mark.slow
@pytest.mark.photos
def test_photographs_are_told_apart(photos_run: Future[float], small_runs: object) -> None:
    assert photos_run.result() == pytest.approx(told(PHOTOS), abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("file", SMALL, ids=lambda file: file.stem)
def test_a_small_experiment_reaches_its_figure(file: Path, small_runs: dict[Path, Future[float]]) -> None:
    assert small_runs[file].result() == pytest.approx(told(file), abs=0.02)
