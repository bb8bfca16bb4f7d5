"""Where the store lies, that importing it is cheap, and that many processes may open it at once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from plt_nn.tracking import store_at


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
    script = Path(__file__).with_name("open_job.py")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    jobs = [
        subprocess.Popen(
            [sys.executable, str(script), str(tmp_path), str(number)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number in range(4)
    ]
    try:
        outputs = [job.communicate(timeout=120)[0] for job in jobs]
    finally:
        for job in jobs:
            job.kill()
    assert [job.returncode for job in jobs] == [0] * 4, "\n".join(outputs)[-3000:]
    client = MlflowClient(store_at(tmp_path / "store").uri)
    (experiment,) = [found for found in client.search_experiments() if found.name == "together"]
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(run.data.metrics["number"] for run in runs) == [0, 1, 2, 3]
    assert {run.info.status for run in runs} == {"FINISHED"}
