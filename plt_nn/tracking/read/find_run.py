"""Finding a run by what people call it: MLflow's id, a `plt_nn.uid`, or `last`."""

import sqlite3
from contextlib import closing
from typing import NamedTuple

from plt_nn.tracking.mlflow_client import asking, mlflow_client
from plt_nn.tracking.store import Store
from plt_nn.tracking.tags import UID

LAST = "last"
_LISTED = 5  # runs
# The newest run that the name fits; a deleted one is found by its id alone.
_BY_NAME = """
SELECT r.experiment_id, r.run_uuid FROM runs r LEFT JOIN tags t ON t.run_uuid = r.run_uuid AND t.key = :key
WHERE r.run_uuid = :name OR r.lifecycle_stage = 'active' AND (t.value = :name OR :name = :last)
ORDER BY r.run_uuid = :name DESC, r.start_time DESC, r.rowid DESC LIMIT 1
"""
_NEWEST = """
SELECT coalesce(t.value, r.run_uuid) FROM runs r LEFT JOIN tags t ON t.run_uuid = r.run_uuid AND t.key = :key
WHERE r.lifecycle_stage = 'active' ORDER BY r.start_time DESC, r.rowid DESC LIMIT :most
"""


class FoundRun(NamedTuple):
    """Where a run is, by MLflow's ids."""

    experiment: str
    run: str


def find_run(store: Store, name: str) -> FoundRun | None:
    """The run of a store with this name. Reads the tables: MLflow's client takes seconds and 200 MB to do it.

    Args:
        store: Where to look; its database must exist.
        name: An MLflow run id, a `plt_nn.uid`, or `last` for the one that was started last.
    """
    rows = _rows(store, _BY_NAME, {"key": UID, "name": name, "last": LAST})
    return FoundRun(str(rows[0][0]), rows[0][1]) if rows else None


def names_of_runs(store: Store) -> list[str]:
    """The names of the newest runs, for error texts."""
    return [name for (name,) in _rows(store, _NEWEST, {"key": UID, "most": _LISTED})]


def find_run_on_server(uri: str, name: str) -> FoundRun | None:
    """The run of an MLflow server with this name, as in `find_run`.

    Raises:
        TrackingError: If the server does not answer.
    """
    client = mlflow_client(uri)
    from mlflow.exceptions import MlflowException

    with asking(uri, f"could not look for the run {name!r}"):
        if name != LAST and name.isalnum():
            try:
                info = client.get_run(name).info
                return FoundRun(info.experiment_id, info.run_id)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
        if "'" in name:
            return None
        experiments = [found.experiment_id for found in client.search_experiments()]
        where = "" if name == LAST else f"tags.`{UID}` = '{name}'"
        runs = client.search_runs(experiments, where, order_by=["attributes.start_time DESC"], max_results=1)
    return FoundRun(runs[0].info.experiment_id, runs[0].info.run_id) if runs else None


def _rows(store: Store, query: str, values: dict[str, object]) -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(f"{store.database.as_uri()}?mode=ro", uri=True, timeout=30)) as connection:
        return connection.execute(query, values).fetchall()
