"""A store of its own for each test, and MLflow's client on it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from plt_nn import EmbeddedMLFlowLogger


@pytest.fixture(autouse=True)
def no_tracking_uri(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow itself sets the variable in this process; a test must not inherit the store of the one before."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")


@pytest.fixture
def logger(tmp_path: Path) -> EmbeddedMLFlowLogger:
    """A logger on a fresh store."""
    return EmbeddedMLFlowLogger("an experiment", store=str(tmp_path / "store"))


@pytest.fixture
def client() -> Callable[[EmbeddedMLFlowLogger], MlflowClient]:
    """MLflow's client on the store of a logger."""
    return lambda logger: MlflowClient(logger.store.uri)
