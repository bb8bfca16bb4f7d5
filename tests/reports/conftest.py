"""A store of runs that is written by hand, so that what a comparison says of it can be computed by hand."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from mlflow.entities import Metric, Param, RunTag
from mlflow.tracking import MlflowClient

from plt_nn.tracking import Store, store_at

Rows = Sequence[tuple[int, float]]  # step and value
Write = Callable[..., str]
BEGAN = 1_700_000_000_000


@pytest.fixture
def store(tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store without runs."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(empty_database, tmp_path)
    return store_at(tmp_path)


@pytest.fixture
def write(store: Store) -> Write:
    """Writes a run with MLflow's own client, and gives its id."""
    client = MlflowClient(store.uri)

    def make(
        name: str,
        metrics: Mapping[str, Rows],
        params: Mapping[str, object] | None = None,
        tags: Mapping[str, str] | None = None,
        status: str | None = "FINISHED",
        seconds: float = 60.0,
        experiment: str = "flowers",
    ) -> str:
        found = client.get_experiment_by_name(experiment)
        place = found.experiment_id if found else client.create_experiment(experiment, store.artifacts(experiment))
        run: str = client.create_run(place, start_time=BEGAN, run_name=name).info.run_id
        rows = [Metric(key, v, BEGAN + 1000 * step, step) for key, values in metrics.items() for step, v in values]
        for begin in range(0, max(1, len(rows)), 1000):
            client.log_batch(run, rows[begin : begin + 1000])
        texts = [Param(key, str(value)) for key, value in (params or {}).items()]
        client.log_batch(run, params=texts, tags=[RunTag(key, value) for key, value in (tags or {}).items()])
        if status is not None:
            client.set_terminated(run, status, end_time=BEGAN + int(1000 * seconds))
        return run

    return make
