"""Where runs go: the embedded MLflow store under `mlruns/`, or the address of a server or database in its stead."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from plt_nn.errors import ConfigError
from plt_nn.files import InFolder
from plt_nn.tracking.spool.folder import SPOOL
from plt_nn.tracking.tags import CHECKPOINTS

_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")


@dataclass(frozen=True)
class Store:
    """A folder that holds an MLflow database, the artifacts and the checkpoints."""

    root: Path  # absolute
    database = InFolder("mlflow.db")
    checkpoints = InFolder(CHECKPOINTS)  # `EXPERIMENT/UID/checkpoints` below it
    spool = InFolder(SPOOL)  # what waits for delivery, a folder for each run
    features = InFolder("features")  # cached features

    @property
    def uri(self) -> str:
        """MLflow's address of the database."""
        return f"sqlite:///{self.database}"

    def artifacts(self, experiment: str) -> str:
        """The place of an experiment's artifacts, always stated: MLflow's default depends on the working directory."""
        return (self.root / "artifacts" / experiment).as_uri()

    def lock(self) -> FileLock:
        """Held while the database is made or changed as a whole."""
        self.root.mkdir(parents=True, exist_ok=True)
        return FileLock(self.root / ".lock")


def store_at(folder: str | Path = "mlruns") -> Store:
    """The store in a folder, which need not exist yet; relative to the working directory."""
    return Store(Path(folder).absolute())


def tracking_address(given: str | None, store: Store) -> str | None:
    """The address of MLflow, or None for the store's own database.

    Args:
        given: An address. Default: the environment variable `MLFLOW_TRACKING_URI`, else the store.
        store: The store.

    Raises:
        ConfigError: For a folder of files, which MLflow no longer writes to, with the command that migrates it; for an
            address that is neither a server nor a database.
    """
    uri = (given or os.environ.get("MLFLOW_TRACKING_URI") or "").strip()
    if not uri or uri == store.uri:
        return None
    scheme = re.split(r"[:+]", uri, maxsplit=1)[0].lower() if "://" in uri else ""
    if scheme in ("http", "https", *_DATABASES):
        return uri
    if scheme == "file" or (not scheme and ":" not in uri):
        folder = Path(uri.removeprefix("file://"))
        raise ConfigError(
            f"The tracking address {uri!r} is a folder of files, which MLflow no longer writes to. Migrate it with\n"
            f"    mlflow migrate-filestore --source {folder} --target {store.uri}\n"
            "and leave the address out, or name a server (http://...) or a database (sqlite:///...)."
        )
    raise ConfigError(
        f"The tracking address {uri!r} cannot be used; expected a server (http://host:port), a database "
        f"({', '.join(f'{name}://' for name in _DATABASES)}), or none for the store in {store.root}."
    )
