"""`plt-nn sync` on spools that were left behind."""

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from mlflow.tracking import MlflowClient

from plt_nn.tracking import store_at
from plt_nn.tracking.spool.folder import SpoolFolder, spool_folders
from plt_nn.tracking.upload.state import load_state
from tests import warm
from tests.cli.conftest import environment

Completed = subprocess.CompletedProcess[str]
Call = Callable[..., Completed]

# A training process that was killed: it has logged, and its uploader was killed with it.
LEFT_BEHIND = """
import os, signal, sys
from plt_nn import DurableMLFlowLogger
logger = DurableMLFlowLogger("left", store="mlruns", tracking_uri=sys.argv[1] or None)
for step in range(5):
    logger.log_metrics({"loss": step / 7}, step=step)
os.kill(logger._spool._uploader.pid, signal.SIGKILL)
os.kill(os.getpid(), signal.SIGKILL)
"""


def leave_behind(uri: str = "") -> SpoolFolder:
    before = set(spool_folders(store_at().root))
    warm.run(["-c", LEFT_BEHIND, uri])
    (new,) = set(spool_folders(store_at().root)) - before
    return new


@pytest.fixture(autouse=True)
def no_uploader_left(here: Path) -> Iterator[None]:
    """Uploaders try forever."""
    yield
    for process in psutil.process_iter(["cmdline"]):
        if str(here) in " ".join(process.info["cmdline"] or []):
            process.kill()


def test_what_was_left_behind_is_delivered(call: Call, store: Path) -> None:
    folder = leave_behind()
    listed = call("sync", "--status")
    assert listed.returncode == 1
    assert folder.root.name in listed.stdout
    assert "ended; waits for `plt-nn sync`" in listed.stdout
    done = call("sync")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{folder.root.name}: delivered; 5 rows so far." in done.stdout
    assert "Everything is in MLflow." in done.stdout
    client = MlflowClient(store_at(store).uri)
    (run,) = client.search_runs([found.experiment_id for found in client.search_experiments()])
    assert run.info.status == "KILLED"
    assert "gone without a word" in run.data.tags["plt_nn.failure"]
    rows = client.get_metric_history(run.info.run_id, "loss")
    assert [(row.step, row.value) for row in rows] == [(step, step / 7) for step in range(5)]
    again = call("sync")
    assert (again.returncode, again.stdout) == (0, "Everything is in MLflow.\n")
    listed = call("sync", "--status")
    assert listed.returncode == 0
    assert "delivered" in listed.stdout


def test_a_server_that_is_not_there_is_told_and_the_other_runs_are_delivered(call: Call, store: Path) -> None:
    waits, goes = leave_behind("http://127.0.0.1:9"), leave_behind()
    done = call("sync", "--wait", "1")
    assert done.returncode == 1
    assert f"{waits.root.name}: waits: " in done.stdout
    assert f"{goes.root.name}: delivered; 5 rows so far." in done.stdout
    assert "Something remains; `plt-nn sync --status` lists it." in done.stdout
    assert "waits: " in call("sync", "--status").stdout


def test_watching_delivers_what_comes(store: Path) -> None:
    words = ["-m", "plt_nn", "sync", "--watch"]
    watching = warm.Process(words, env=environment(), together=True, interpreter=warm.MLFLOW)
    try:
        folder = leave_behind()
        while watching.poll() is None and load_state(folder.state).finished_at is None:
            time.sleep(0.05)
        watching.terminate()
        out, _ = watching.communicate(timeout=warm.PATIENCE)
    finally:
        watching.kill()
    assert watching.returncode == 0, out
    assert f"{folder.root.name}: delivered; 5 rows so far." in out


def test_without_a_store(call: Call, here: Path) -> None:
    done = call("sync", "--store", "elsewhere")
    assert done.returncode == 2
    assert f"there is no folder {here}/elsewhere" in done.stderr
    (here / "elsewhere").mkdir()
    assert call("sync", "--store", "elsewhere").stdout == "Everything is in MLflow.\n"
    assert "There is no spool in" in call("sync", "--store", "elsewhere", "--status").stdout
