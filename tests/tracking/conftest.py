"""A store of its own for each test, and MLflow's client on it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from plt_nn import EmbeddedMLFlowLogger
from plt_nn.tracking import store_at


@pytest.fixture(autouse=True)
def no_tracking_uri(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow itself sets the variable in this process; a test must not inherit the store of the one before."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of a store without runs; making one takes seconds, copying it does not."""
    store = store_at(tmp_path_factory.mktemp("empty"))
    MlflowClient(store.uri).search_experiments()
    return store.root / "mlflow.db"


@pytest.fixture
def new_store(empty_database: Path) -> Callable[[Path], str]:
    """Makes a store without runs in a folder, and gives the folder as a logger takes it."""

    def make(folder: Path) -> str:
        folder.mkdir(parents=True)
        shutil.copy(empty_database, folder)
        return str(folder)

    return make


@pytest.fixture
def logger(tmp_path: Path, new_store: Callable[[Path], str]) -> EmbeddedMLFlowLogger:
    """A logger on a store without runs."""
    return EmbeddedMLFlowLogger("an experiment", store=new_store(tmp_path / "store"))


@pytest.fixture
def client() -> Callable[[EmbeddedMLFlowLogger], MlflowClient]:
    """MLflow's client on the store of a logger."""
    return lambda logger: MlflowClient(logger.store.uri)
