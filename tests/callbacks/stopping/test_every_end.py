"""After every kind of end the best weights are in memory on every process, on disk and in MLflow."""

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import pytest
from mlflow.tracking import MlflowClient

from plt_nn.tracking import Store, store_at
from plt_nn.tracking.spool.folder import SpoolFolder
from plt_nn.tracking.upload.backlog import wait_for_delivery
from plt_nn.tracking.upload.state import load_state
from tests import warm

JOB = Path(__file__).with_name("ends_job.py")
ENDS = {
    "patience": "finished",
    "max_epochs": "finished",
    "exception": "RuntimeError",
    "ctrl-c": "SystemExit",
    "sigterm": "SIGTERMException",
}
STATUS = {
    "patience": "FINISHED",
    "max_epochs": "FINISHED",
    "exception": "FAILED",
    "ctrl-c": "KILLED",
    "sigterm": "KILLED",
}


def run_job(ends: str, devices: int, folder: Path) -> None:
    words = [JOB, ends, str(devices), folder / "mlruns", folder]
    ours = ("PL_GLOBAL_SEED", "MLFLOW_TRACKING_URI")
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    environment["OMP_NUM_THREADS"] = "1"
    # Lightning's process 0 hands on a signal to the processes it has started; else it need not have started them.
    is_signal = ends in ("ctrl-c", "sigterm")
    ranks = 1 if is_signal else devices
    done = warm.run(words, env=environment) if ranks == 1 else warm.run_ranks(ranks, words, env=environment)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reports of all ends in one process, and the store."""
    folder = tmp_path_factory.mktemp("ends")
    run_job(",".join(ENDS), 1, folder)
    return folder


@pytest.fixture(scope="module")
def both(folder: Path) -> Path:
    """The reports of all ends in two processes; after Ctrl-C the second one is gone."""
    run_job("patience,max_epochs,exception", 2, folder)
    run_job("sigterm", 2, folder)
    run_job("ctrl-c", 2, folder)
    return folder


def check(report: dict[str, Any], end: str) -> None:
    assert report["ended"] == ENDS[end]
    assert report["best_at"]["epochs"] == 2
    assert report["in memory"] == pytest.approx(report["best"], rel=1e-6)
    assert report["requires_grad"], "the net is given back as it was found"


def check_process_0(report: dict[str, Any], end: str, store: Store) -> None:
    check(report, end)
    assert wait_for_delivery(SpoolFolder(store.spool / report["uid"]), warm.PATIENCE).is_empty
    client = MlflowClient(store.uri)
    run = client.get_run(str(load_state(SpoolFolder(store.spool / report["uid"]).state).run_id))
    assert run.outputs is not None
    (output,) = run.outputs.model_outputs
    location = client.get_logged_model(output.model_id).artifact_location
    logged = Path(unquote(urlparse(location).path)) / "best.safetensors"
    assert logged.read_bytes() == Path(report["weights"]).read_bytes(), "the same in MLflow"
    assert run.info.status == STATUS[end]
    assert report["on disk"] == pytest.approx(report["best"], rel=1e-6)
    assert report["last"] > 1.1 * report["best"], "the checkpoint to resume from holds the last weights, not the best"


@pytest.mark.slow
@pytest.mark.parametrize("end", ENDS)
def test_one_process(end: str, folder: Path) -> None:
    check_process_0(json.loads((folder / f"{end}-1-rank0.json").read_text()), end, store_at(folder / "mlruns"))


@pytest.mark.slow
@pytest.mark.multiprocess
@pytest.mark.parametrize("end", ENDS)
def test_two_processes(end: str, both: Path) -> None:
    first = json.loads((both / f"{end}-2-rank0.json").read_text())
    check_process_0(first, end, store_at(both / "mlruns"))
    other = both / f"{end}-2-rank1.json"
    if end == "ctrl-c" and not other.exists():
        return  # Lightning's process 0 kills the others after Ctrl-C
    second = json.loads(other.read_text())
    check(second, end)
    assert second["best"] == first["best"]
    assert second["in memory"] == first["in memory"]
