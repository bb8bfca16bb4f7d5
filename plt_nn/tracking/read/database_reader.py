"""Reads runs from MLflow's database: its client takes minutes for what the tables give in seconds."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit
from urllib.request import url2pathname

import numpy as np
from sqlalchemy import BindParameter, Engine, bindparam, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from plt_nn.errors import TrackingError
from plt_nn.text import first_line
from plt_nn.tracking.masking import masked_text
from plt_nn.tracking.read.runs import Histories, History, Point, RunRecord, history_of
from plt_nn.tracking.tags import DATA_CONTEXT

_EXPERIMENTS = "SELECT name FROM experiments WHERE lifecycle_stage = 'active' ORDER BY experiment_id DESC"
_RUNS = """
SELECT r.run_uuid, r.name, e.name, r.status, r.start_time, r.end_time, r.artifact_uri
FROM runs r JOIN experiments e ON e.experiment_id = r.experiment_id
WHERE e.name IN :names AND r.lifecycle_stage = 'active' ORDER BY r.start_time DESC, r.run_uuid
"""
_OF_RUNS = """
SELECT x.run_uuid, x.key, x.value FROM {table} x JOIN runs r ON r.run_uuid = x.run_uuid
JOIN experiments e ON e.experiment_id = r.experiment_id
WHERE e.name IN :names AND r.lifecycle_stage = 'active'
"""
_LAST = _OF_RUNS.format(table="latest_metrics").replace("x.value", "x.value, x.step, x.timestamp, x.is_nan")
_DATA = """
SELECT r.run_uuid, t.value, d.digest FROM inputs i
JOIN datasets d ON d.dataset_uuid = i.source_id JOIN runs r ON r.run_uuid = i.destination_id
JOIN experiments e ON e.experiment_id = r.experiment_id
JOIN input_tags t ON t.input_uuid = i.input_uuid AND t.name = :context
WHERE i.source_type = 'DATASET' AND i.destination_type = 'RUN' AND e.name IN :names AND r.lifecycle_stage = 'active'
"""
_HISTORY = "SELECT step, value, timestamp, is_nan FROM metrics {hint} WHERE run_uuid = :run AND key = :key"
_INDEX = "index_metrics_run_uuid_key_step"


class DatabaseReader:
    """Reads runs from the tables of MLflow's database, and changes nothing.

    Args:
        uri: MLflow's address of the database, such as `sqlite:////home/me/mlruns/mlflow.db`.

    Raises:
        TrackingError: From any of its methods, if the database cannot be read.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._engine = _read_only(uri)

    def experiments(self) -> list[str]:
        """The names of the experiments, the newest first."""
        return [name for (name,) in self._rows(_EXPERIMENTS)]

    def runs(self, experiments: Sequence[str]) -> list[RunRecord]:
        """The runs of some experiments, the newest first; those that were deleted are left out."""
        names = {"names": list(experiments)}
        params = _by_run(self._rows(_OF_RUNS.format(table="params"), names))
        tags = _by_run(self._rows(_OF_RUNS.format(table="tags"), names))
        data = _by_run(self._rows(_DATA, {**names, "context": DATA_CONTEXT}))
        last: dict[str, dict[str, Point]] = {}
        for run, key, value, step, time, is_nan in self._rows(_LAST, names):
            last.setdefault(run, {})[key] = Point(float("nan") if is_nan else value, step, time)
        return [
            RunRecord(
                *(run, name or run, experiment, status, began or 0, ended),
                *(params.get(run, {}), tags.get(run, {}), last.get(run, {}), data.get(run, {}), place),
            )
            for run, name, experiment, status, began, ended, place in self._rows(_RUNS, names)
        ]

    def histories(
        self, runs: Sequence[RunRecord], names: Sequence[str] | None = None, step: int | None = None
    ) -> Histories:
        """All rows of metrics, or those of one step; see `AllRuns`."""
        return {run.id: {name: self._history(run.id, name, step) for name in run.metrics(names)} for run in runs}

    def artifact(self, run: RunRecord, path: str) -> bytes | None:
        """The content of an artifact; None if there is none of this path."""
        parts = urlsplit(run.artifacts or "")
        if parts.scheme in ("", "file"):
            file = Path(url2pathname(parts.path), path)
            return file.read_bytes() if run.artifacts and file.is_file() else None
        from plt_nn.tracking.read.server_reader import ServerReader

        return ServerReader(self._uri).artifact(run, path)

    @cached_property
    def _hint(self) -> str:
        """Which index to use: for each single run SQLite would scan the rows of all runs."""
        if self._engine.dialect.name != "sqlite":
            return ""
        known = self._rows("SELECT 1 FROM sqlite_master WHERE type = 'index' AND name = :index", {"index": _INDEX})
        return f"INDEXED BY {_INDEX}" if known else ""

    def _history(self, run: str, name: str, step: int | None) -> History:
        query = _HISTORY.format(hint=self._hint) + ("" if step is None else " AND step = :step")
        rows = self._rows(query, {"run": run, "key": name, "step": step})
        table = np.fromiter(chain.from_iterable(rows), np.float64, 4 * len(rows)).reshape(-1, 4)
        table[table[:, 3] == 1, 1] = np.nan
        return history_of(table[:, :3])

    def _rows(self, query: str, values: Mapping[str, Any] | None = None) -> Sequence[Any]:
        lists: list[BindParameter[Any]]
        lists = [bindparam(name, expanding=True) for name, value in (values or {}).items() if isinstance(value, list)]
        try:
            with self._engine.connect() as connection:
                return connection.execute(text(query).bindparams(*lists), values or {}).fetchall()
        except SQLAlchemyError as error:
            reason = first_line(getattr(error, "orig", None) or error)
            raise TrackingError(f"the runs in {masked_text(self._uri)} cannot be read: {reason}") from error


def _read_only(uri: str) -> Engine:
    url = make_url(uri)
    if url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:"):
        file = quote(str(Path(str(url.database)).absolute()))
        return create_engine(f"sqlite:///file:{file}?mode=ro&uri=true", connect_args={"timeout": 30})
    return create_engine(uri)


def _by_run(rows: Sequence[Any]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for run, key, value in rows:
        found.setdefault(run, {})[key] = value
    return found
