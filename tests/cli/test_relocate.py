"""`plt-nn relocate`: what it says, and what it takes."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from plt_nn.tracking import store_at

Completed = subprocess.CompletedProcess[str]
Call = Callable[..., Completed]


@pytest.fixture
def moved(store: Path, here: Path) -> Path:
    """A store with one run and an artifact, in another folder than it was made in."""
    client = MlflowClient(store_at(store).uri)
    run = client.create_run(client.create_experiment("one", store_at(store).artifacts("one"))).info.run_id
    client.log_text(run, "a text", "text.txt")
    store.rename(here / "new runs")
    return here / "new runs"


def names(store: Path) -> list[str]:
    client = MlflowClient(store_at(store).uri)
    (run,) = client.search_runs(["1"])
    return [item.path for item in client.list_artifacts(run.info.run_id)]


def test_it_says_what_it_rewrote_and_then_that_there_is_nothing(call: Call, moved: Path, here: Path) -> None:
    assert names(moved) == []
    done = call("relocate", "--store", "new runs")
    assert done.returncode == 0
    assert f"Places rewritten to {moved}: 1 of experiments, 1 of runs.\n" in done.stdout
    assert f"They were in {here / 'mlruns'}.\n" in done.stdout
    assert f"The database before the change: {moved / 'mlflow.db.before-relocate'}\n" in done.stdout
    assert names(moved) == ["text.txt"]
    again = call("relocate", "--store", moved)
    assert again.returncode == 0
    assert again.stdout == f"Nothing to do: all places are in {moved}.\n"


@pytest.mark.parametrize("form", [str, Path.as_uri], ids=["path", "address"])
def test_a_folder_can_be_named(call: Call, moved: Path, here: Path, form: Callable[[Path], str]) -> None:
    client = MlflowClient(store_at(moved).uri)
    disk = here / "a disk"
    (disk / "artifacts" / "two").mkdir(parents=True)
    client.create_experiment("two", (disk / "artifacts" / "two").as_uri())
    done = call("relocate", "--store", "new runs")
    assert f"Left unchanged, for it is still there and not here: {disk.as_uri()}/artifacts/two (--from" in done.stdout
    done = call("relocate", "--store", "new runs", "--from", form(disk))
    assert f"Places rewritten to {moved}: 1 of experiments.\n" in done.stdout
    assert f"They were in {disk}.\n" in done.stdout


def test_a_folder_that_nothing_names(call: Call, moved: Path) -> None:
    call("relocate", "--store", "new runs")
    done = call("relocate", "--store", "new runs", "--from", "/nowhere")
    assert done.returncode == 0
    assert "No place is in /nowhere." in done.stdout


def test_without_a_store(call: Call, here: Path) -> None:
    done = call("relocate")
    assert done.returncode == 2
    assert f"there are no runs in {here}/mlruns; --store names another folder" in done.stderr
    assert not (here / "mlruns").exists()
