"""Servers that are killed, hang, refuse or answer nonsense: no step waits, no fit fails, every row arrives once."""

import shutil
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from plt_nn.tracking import run_spool
from plt_nn.tracking.spool.folder import SpoolFolder
from plt_nn.tracking.upload.state import load_state
from tests import warm
from tests.tracking.durability_job import SlowSteps, fit
from tests.tracking.read_back import JOB, PATIENCE, call, delivered, run_of, start, until_delivered, written
from tests.tracking.servers import Front, MLflowServer, the_spool, until

pytestmark = [pytest.mark.slow, pytest.mark.multiprocess, pytest.mark.usefixtures("clean")]

CONNECTED_TO_NOBODY = "connected to nobody"  # so no step can have waited for a server


@pytest.fixture
def own_server(tmp_path: Path, empty_database: Path) -> Iterator[MLflowServer]:
    """A server that a test may kill."""
    shutil.copy(empty_database, tmp_path)
    server = MLflowServer(tmp_path)
    try:
        yield server.start()
    finally:
        server.kill()


def test_a_server_that_is_killed_and_comes_back(own_server: MLflowServer, tmp_path: Path) -> None:
    store = tmp_path / "mlruns"
    words = ("--store", store, "--uri", own_server.uri, "--steps", 100_000, "--seconds", 0.03, "--flush", PATIENCE)
    job = start(JOB, *words, "--stop", tmp_path / "stop")
    until(lambda: list(store.glob("spool/*/events.jsonl")), PATIENCE, "the job has not begun")
    until(lambda: load_state(the_spool(store).state).rows > 10, PATIENCE, "no row has arrived")
    own_server.kill()
    before = sum(written(the_spool(store), "step_loss").values())
    until(lambda: load_state(the_spool(store).state).error is not None, PATIENCE, "it is not said why delivery waits")
    until(lambda: sum(written(the_spool(store), "step_loss").values()) > before + 20, PATIENCE, "training waits")
    own_server.start()
    (tmp_path / "stop").touch()
    output, _ = job.communicate(timeout=PATIENCE)
    assert job.returncode == 0, output
    assert "not in MLflow yet" not in output
    assert CONNECTED_TO_NOBODY in output
    uid = the_spool(store).uid
    steps = Counter(point.step for point in delivered(own_server.client, uid, "step_loss").elements())
    assert steps == Counter(range(1, len(steps) + 1))
    assert len(steps) > before + 20
    assert delivered(own_server.client, uid) == written(the_spool(store))
    assert run_of(own_server.client, uid).info.status == "FINISHED"


BEHAVIOURS = ["refuse", "hang", "500", "429", "401", "garbage", "empty", "page"]


def test_servers_that_do_not_work_until_the_fit_has_ended(
    server: MLflowServer,
    front: Callable[..., Front],
    warm_uploaders: Callable[[SpoolFolder, dict[str, str]], warm.Process],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    uploading: dict[str, list[warm.Process]] = {behaviour: [] for behaviour in BEHAVIOURS}

    def start_uploader(folder: SpoolFolder, login: dict[str, str]) -> warm.Process:
        uploading[folder.store.name].append(warm_uploaders(folder, login))
        return uploading[folder.store.name][-1]

    def connect(self: socket.socket, address: Any) -> None:
        connected.append(address)
        real_connect(self, address)

    connected, real_connect = list[object](), socket.socket.connect
    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(run_spool, "start_uploader", start_uploader)
    fronts = {behaviour: front(behaviour) for behaviour in BEHAVIOURS}
    for behaviour, each in fronts.items():
        with pytest.warns(UserWarning, match="not in MLflow yet.*`plt-nn sync` delivers them"):
            fit(str(tmp_path / behaviour), each.uri, steps=30, flush=0.5, slow=SlowSteps())
    assert connected == [], "training never waits for the network"
    for behaviour, each in fronts.items():
        until(lambda each=each: each.asked > 0, PATIENCE, "nobody has asked the server")
        assert load_state(the_spool(tmp_path / behaviour).state).offset == 0, f"{behaviour} is not taken for delivery"
    for process in [*uploading["refuse"], *uploading["hang"]]:
        process.kill()
        process.wait(PATIENCE)
    for each in fronts.values():
        each.behaviour = "forward"
        each.freed.set()
    for behaviour in ("refuse", "hang"):
        words = ("sync", "--store", tmp_path / behaviour, "--wait", PATIENCE)
        status, output = call("-m", "plt_nn", *words, interpreter=warm.MLFLOW)
        assert (status, "Everything is in MLflow." in output) == (0, True), output
    for behaviour in BEHAVIOURS:
        folder = the_spool(tmp_path / behaviour)
        until_delivered(folder)
        assert delivered(server.client, folder.uid) == written(folder), behaviour
        assert len(delivered(server.client, folder.uid, "step_loss")) == 30
        assert run_of(server.client, folder.uid).info.status == "FINISHED"
        assert load_state(folder.state).refused == 0
        assert all(process.wait(PATIENCE) is not None for process in uploading[behaviour]), "no uploader stays"
