"""Where the store lies, that importing it is cheap, and that many processes may open it at once."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from plt_nn.tracking import store_at
from tests import warm

JOB = Path(__file__).with_name("open_job.py")


def test_the_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = store_at("runs")
    assert store.root == tmp_path / "runs"
    assert store.uri == f"sqlite:///{tmp_path}/runs/mlflow.db"
    assert store.checkpoints == tmp_path / "runs" / "checkpoints"
    assert store.artifacts("digits") == f"file://{tmp_path}/runs/artifacts/digits"
    assert store_at().root == tmp_path / "mlruns"
    monkeypatch.chdir("/")
    assert store.root == tmp_path / "runs", "fixed when it was made"


def test_naming_a_store_makes_nothing_and_its_lock_makes_the_folder(tmp_path: Path) -> None:
    store = store_at(tmp_path / "a" / "b")
    assert not (tmp_path / "a").exists()
    with store.lock():
        assert (tmp_path / "a" / "b").is_dir()


def test_it_needs_neither_lightning_nor_torch_nor_mlflow() -> None:
    code = "import sys, plt_nn.tracking.store; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"lightning", "torch", "mlflow", "pandas"} & set(done.stdout.split())


@pytest.mark.slow
@pytest.mark.multiprocess
def test_four_processes_open_a_fresh_store_at_once(tmp_path: Path) -> None:
    all_succeed(four_at(tmp_path / "one", "trainer", warm.TRAINING), tmp_path / "one")


@pytest.mark.slow
@pytest.mark.multiprocess
def test_it_goes_well_time_after_time(tmp_path: Path) -> None:
    """Four fresh stores side by side; the uploaders, which open them, have their imports behind them and meet.

    Every other one is a database that is named in the place of the store's own.
    """
    folders = [tmp_path / f"{'named' if number % 2 else 'own'}{number}" for number in range(4)]
    jobs = [four_at(folder, "uploader", warm.MLFLOW) for folder in folders]
    try:
        for folder, four in zip(folders, jobs, strict=True):
            all_succeed(four, folder)
    finally:
        for job in itertools.chain(*jobs):
            job.kill()


def four_at(folder: Path, kind: str, interpreter: warm.Interpreter) -> list[warm.Process]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    words = [[JOB, folder, str(number), kind] for number in range(4)]
    return [warm.Process(each, env=environment, together=True, interpreter=interpreter) for each in words]


def all_succeed(jobs: list[warm.Process], folder: Path) -> None:
    try:
        outputs = [job.communicate(timeout=warm.PATIENCE)[0] for job in jobs]
    finally:
        for job in jobs:
            job.kill()
    assert [job.wait() for job in jobs] == [0] * 4, "\n".join(outputs)[-3000:]
    store = store_at(folder / "store")
    client = MlflowClient(store.uri.replace("mlflow.db", "named.db") if folder.name.startswith("named") else store.uri)
    (experiment,) = [found for found in client.search_experiments() if found.name == "together"]
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(run.data.metrics["number"] for run in runs) == [0, 1, 2, 3]
    assert {run.info.status for run in runs} == {"FINISHED"}
