"""A SQLite database of MLflow: there as a whole, or not at all."""

import os
from pathlib import Path

from filelock import FileLock
from mlflow.tracking import MlflowClient
from sqlalchemy.engine import make_url


def ensure_database(uri: str) -> None:
    """Makes a SQLite database of MLflow if there is none; other databases have servers that see to themselves.

    MLflow makes one in dozens of steps that neither bear company nor an end in their midst: several processes break
    each other's migrations, and what a killed one leaves behind cannot be opened again. So one process at a time makes
    it under another name and moves it into place.

    Args:
        uri: MLflow's address of the database.
    """
    url = make_url(uri)
    if url.get_backend_name() != "sqlite" or url.database in (None, "", ":memory:"):
        return
    database = Path(str(url.database)).absolute()
    if database.exists():
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(database.parent / ".lock"):
        if not database.exists():
            _make(database)


def _make(database: Path) -> None:
    partial = database.with_name(f".{database.name}.partial")
    for left in database.parent.glob(f"{partial.name}*"):  # by a process that was killed
        left.unlink()
    MlflowClient(f"sqlite:///{partial}").search_experiments(max_results=1)
    try:
        os.link(partial, database)
    except FileExistsError:  # MLflow itself has made one meanwhile, which is not to be lost
        pass
    except OSError:  # a file system without second names
        partial.replace(database)
    partial.unlink(missing_ok=True)
