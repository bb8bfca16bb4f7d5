"""A store of its own for each test, and MLflow's client on it."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from plt_nn import DurableMLFlowLogger
from plt_nn.tracking import run_spool
from plt_nn.tracking.spool.folder import SpoolFolder
from plt_nn.tracking.upload.start import uploader_environment
from tests import warm
from tests.tracking.servers import Front, MLflowServer, end_uploaders


@pytest.fixture(autouse=True)
def no_tracking_uri(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow itself sets the variable in this process; a test must not inherit the store of the one before."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")


@pytest.fixture
def new_store(empty_database: Path) -> Callable[[Path], str]:
    """Makes a store without runs in a folder, and gives the folder as a logger takes it."""

    def make(folder: Path) -> str:
        folder.mkdir(parents=True)
        shutil.copy(empty_database, folder)
        return str(folder)

    return make


@pytest.fixture(autouse=True)
def patient_loggers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of a fit waits for delivery as long as a busy machine takes, where a test does not say how long."""
    init: Any = DurableMLFlowLogger.__init__
    patient = tuple(warm.PATIENCE if default == 30.0 else default for default in init.__defaults__)
    monkeypatch.setattr(init, "__defaults__", patient)


@pytest.fixture
def logger(tmp_path: Path, new_store: Callable[[Path], str]) -> DurableMLFlowLogger:
    """A logger on a store without runs."""
    store = new_store(tmp_path / "store")
    return DurableMLFlowLogger("an experiment", store=store, flush_seconds=warm.PATIENCE)


@pytest.fixture
def warm_uploaders(monkeypatch: pytest.MonkeyPatch) -> Callable[[SpoolFolder, dict[str, str]], warm.Process]:
    """Forks the uploaders of loggers: importing MLflow takes each of them seconds. `ps` does not show what they are.

    Gives what starts one.
    """

    def start(folder: SpoolFolder, login: dict[str, str]) -> warm.Process:
        words, variables = ["-m", "plt_nn.tracking.upload", folder.root], uploader_environment(login)
        with folder.log.open("ab") as log:
            return warm.Process(
                words, env=variables, output=log.fileno(), start_new_session=True, interpreter=warm.MLFLOW
            )

    monkeypatch.setattr(run_spool, "start_uploader", start)
    return start


@pytest.fixture
def client() -> Callable[[DurableMLFlowLogger], MlflowClient]:
    """MLflow's client on the store of a logger."""
    return lambda logger: MlflowClient(logger.store.uri)


@pytest.fixture
def delivered() -> Callable[..., Run]:
    """Ends the run of a logger and waits until MLflow has it."""

    def wait(logger: DurableMLFlowLogger, uri: str | None = None) -> Run:
        logger.finalize("success")
        assert logger.run_id is not None
        return MlflowClient(uri or logger.store.uri).get_run(logger.run_id)

    return wait


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[MLflowServer]:
    """An MLflow server that all tests share."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(empty_database, folder)
    server = MLflowServer(folder)
    try:
        yield server.start()
    finally:
        server.kill()


@pytest.fixture
def front(server: MLflowServer) -> Iterator[Callable[..., Front]]:
    """Makes fronts for the server, which misbehave as they are told."""
    fronts: list[Front] = []

    def make(behaviour: str = "forward", login: tuple[str, str] | None = None) -> Front:
        fronts.append(Front(server.uri, behaviour, login))
        return fronts[-1]

    yield make
    for each in fronts:
        each.close()


@pytest.fixture
def clean(tmp_path: Path) -> Iterator[None]:
    """Ends the uploaders that a test leaves behind in its folder."""
    yield
    for store in {spool.parent for spool in tmp_path.rglob("spool")}:
        end_uploaders(store)
