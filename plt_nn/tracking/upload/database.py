"""A SQLite database of MLflow: it exists as a whole, or not at all."""

import os
from pathlib import Path

from filelock import FileLock
from sqlalchemy.engine import make_url

from plt_nn.tracking.mlflow_client import mlflow_client


def ensure_database(uri: str) -> None:
    """Makes a SQLite database of MLflow if there is none; other databases have servers of their own.

    MLflow makes one in dozens of migrations. Several processes at once break each other's, and what a killed one
    leaves behind cannot be opened again. So one process at a time makes it under another name and moves it into place.
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
    for abandoned in database.parent.glob(f"{partial.name}*"):  # by a process that was killed
        abandoned.unlink()
    mlflow_client(f"sqlite:///{partial}").search_experiments(max_results=1)
    try:
        os.link(partial, database)
    except FileExistsError:  # MLflow itself has made one meanwhile, which must not be lost
        pass
    except OSError:  # a file system without second names
        partial.replace(database)
    partial.unlink(missing_ok=True)
