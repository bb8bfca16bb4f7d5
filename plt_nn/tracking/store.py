"""The embedded MLflow store: where things lie under `mlruns/`, and how it is opened."""

from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock


@dataclass(frozen=True)
class Store:
    """A folder that holds an MLflow database, the artifacts and the checkpoints.

    Args:
        root: The folder, absolute.
    """

    root: Path

    @property
    def uri(self) -> str:
        """MLflow's address of the database."""
        return f"sqlite:///{self.database}"

    @property
    def database(self) -> Path:
        """The file of the database."""
        return self.root / "mlflow.db"

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints, `EXPERIMENT/RUN/checkpoints` below it."""
        return self.root / "checkpoints"

    @property
    def spool(self) -> Path:
        """The folder of what waits for delivery, a folder for each run."""
        return self.root / "spool"

    @property
    def features(self) -> Path:
        """The folder of what the frozen parts of nets have computed."""
        return self.root / "features"

    def artifacts(self, experiment: str) -> str:
        """Where an experiment's artifacts lie, said explicitly: MLflow's default depends on the working directory."""
        return (self.root / "artifacts" / experiment).as_uri()

    def lock(self) -> FileLock:
        """Held while the database is made or changed as a whole."""
        self.root.mkdir(parents=True, exist_ok=True)
        return FileLock(self.root / ".lock")


def store_at(folder: str | Path = "mlruns") -> Store:
    """The store in a folder, which need not exist yet; relative to the working directory."""
    return Store(Path(folder).absolute())
