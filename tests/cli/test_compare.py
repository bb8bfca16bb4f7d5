"""`plt-nn compare` and `plt-nn runs` as a user calls them, on a run that was really fitted."""

import csv
import io
import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from plt_nn import DurableMLFlowLogger
from tests.cli.conftest import Completed
from tests.ports import free_port
from tests.tracking.servers import end_uploaders

Call = Callable[..., Completed]


@pytest.fixture
def folder(fitted: tuple[Path, Completed], call: Call, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the fit, as the working directory, once MLflow has all of it."""
    monkeypatch.chdir(fitted[0])
    assert call("sync").returncode == 0
    return fitted[0]


@pytest.fixture
def unreachable(tmp_path: Path) -> Iterator[DurableMLFlowLogger]:
    """A logger whose server is not there; its uploader is ended afterwards."""
    yield DurableMLFlowLogger("flowers", tracking_uri=f"http://127.0.0.1:{free_port()}", flush_seconds=0)
    end_uploaders(tmp_path / "mlruns")


def test_a_run_is_told_in_every_format(folder: Path, call: Call) -> None:
    text = call("compare", "tiny")
    assert text.returncode == 0, text.stderr
    assert "best val_loss" in text.stdout
    exact = json.loads(call("compare", "tiny", "--format", "json").stdout)
    (line,) = csv.DictReader(io.StringIO(call("compare", "tiny", "--format", "csv").stdout))
    (run,) = exact["runs"]
    assert float(line["best"]) == run["best"]
    with sqlite3.connect(folder / "mlruns" / "mlflow.db") as database:
        rows = database.execute("SELECT value FROM metrics WHERE key = 'val_loss'").fetchall()
    assert run["best"] == min(value for (value,) in rows)
    assert (run["state"], run["epochs"]) == ("finished", 3)
    assert run["epoch"] == exact["runs"][0]["step"] // 23 - 1
    assert run["trained_parameters"] == 64 * 16 + 16 + 16 * 10 + 10
    assert run["device_hours"] > 0
    assert call("compare", "tiny", "--format", "md").stdout.startswith("**Runs (lower is better)**")


def test_a_page_is_written_whole(folder: Path, call: Call, tmp_path: Path) -> None:
    done = call("compare", "tiny", "--html", tmp_path / "r.html")
    assert done.returncode == 0
    assert "1 run," in done.stderr
    page = (tmp_path / "r.html").read_text()
    assert page.endswith("</html>")
    assert "data:image/jpeg" not in page, "flat digits are no images"
    assert 'class="matrix"' in page
    assert list(tmp_path.glob(".r.html*")) == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["compare", "tinny"], "no experiment 'tinny'"),
        (["compare", "tiny", "--runs", "nobody"], "--runs nobody: there is no such run"),
        (["compare", "tiny", "--metric", "val_los"], "Did you mean 'val_loss'"),
        (["compare", "tiny", "--by", "optimiser"], "--by optimiser: no run has such a parameter"),
        (["compare", "tiny", "--html", "nowhere/r.html"], "there is no folder"),
        (["compare", "tiny", "--tracking-uri", "ftp://x"], "cannot be used; expected a server"),
        (["runs", "tinny"], "Did you mean 'tiny'"),
    ],
)
def test_mistakes_are_told(folder: Path, call: Call, words: list[str], told: str) -> None:
    done = call(*words)
    assert done.returncode == 2
    assert told in done.stderr


def test_a_database_that_is_none_is_told(here: Path, call: Call) -> None:
    (here / "mlruns").mkdir()
    (here / "mlruns" / "mlflow.db").write_text("this is no database")
    done = call("runs")
    assert done.returncode == 1
    assert "cannot be read" in done.stderr


def test_where_nothing_is_that_is_said(here: Path, call: Call) -> None:
    done = call("runs")
    assert (done.returncode, done.stderr) == (0, "")
    assert "There are no runs in" in done.stdout
    assert json.loads(call("runs", "--format", "json").stdout) == []
    assert call("compare", "flowers").returncode == 2


def test_a_run_is_listed_with_where_and_how_far(folder: Path, call: Call) -> None:
    (run,) = json.loads(call("runs", "--format", "json").stdout)
    assert (run["state"], run["epochs"], run["most_epochs"], run["metric"]) == ("finished", 3, 3, "val_loss")
    assert run["host"]
    assert "3 of 3 epochs" in call("runs", "tiny").stdout


def test_what_a_server_that_is_away_does_not_know_is_listed(
    here: Path, call: Call, unreachable: DurableMLFlowLogger
) -> None:
    for step in range(3):
        unreachable.log_metrics({"val_loss": 1.0 - 0.1 * step, "epoch": step}, step)
    (run,) = json.loads(call("runs", "--format", "json").stdout)
    assert (run["status"], run["uid"], run["best_step"]) == ("RUNNING", unreachable.uid, 2)
    assert run["undelivered_bytes"] > 0
    shown = call("runs").stdout
    assert "not in MLflow" in shown
    assert "running" in shown
    assert "0.8" in call("compare", "flowers").stdout


def test_a_run_without_a_word_is_dead(fitted: tuple[Path, Completed], here: Path, call: Call) -> None:
    shutil.copytree(fitted[0] / "mlruns" / "spool", here / "mlruns" / "spool")  # as of a trainer that was killed
    (events,) = (here / "mlruns" / "spool").glob("*/events.jsonl")
    lines = [line for line in events.read_bytes().splitlines(True) if not line.startswith(b'{"kind":"end"')]
    events.write_bytes(b"".join(lines) + b'{"kind":"metr')
    (events.parent / "state.json").unlink()
    (run,) = json.loads(call("runs", "--format", "json").stdout)
    assert (run["status"], run["state"]) == ("KILLED", "killed without a word")
    done = call("compare", "tiny", "--html", "dead.html")
    assert done.returncode == 0, done.stderr
    assert "killed without a word" in (here / "dead.html").read_text()
