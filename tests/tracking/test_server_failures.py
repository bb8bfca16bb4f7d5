"""Servers that are killed, hang, refuse or answer nonsense: no step waits, no fit fails, every row arrives once."""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from plt_nn.tracking.upload.state import load_state
from tests import warm
from tests.tracking.read_back import JOB, PATIENCE, call, delivered, run_of, start, until_delivered, written
from tests.tracking.servers import Front, MLflowServer, end_uploaders, the_spool, until, uploaders

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
    server: MLflowServer, front: Callable[..., Front], tmp_path: Path
) -> None:
    fronts = [front(behaviour) for behaviour in BEHAVIOURS]
    stores = [tmp_path / behaviour for behaviour in BEHAVIOURS]
    words = ("--uri", *(each.uri for each in fronts), "--steps", 30, "--seconds", 0.001, "--flush", 1)
    status, output = call(JOB, "--store", *stores, *words)
    assert status == 0, output
    assert output.count("not in MLflow yet") == len(BEHAVIOURS), output
    assert output.count("`plt-nn sync` delivers them") == len(BEHAVIOURS)
    assert CONNECTED_TO_NOBODY in output
    for store, each in zip(stores, fronts, strict=True):
        until(lambda each=each: each.asked > 0, PATIENCE, "nobody has asked the server")
        assert load_state(the_spool(store).state).offset == 0, f"{store.name}: no such answer is taken for delivery"
    for store in stores[:2]:
        end_uploaders(store)
    for each in fronts:
        each.behaviour = "forward"
        each.freed.set()
    for store in stores[:2]:
        status, output = call("-m", "plt_nn", "sync", "--store", store, "--wait", PATIENCE, interpreter=warm.MLFLOW)
        assert (status, "Everything is in MLflow." in output) == (0, True), output
    for store in stores:
        folder = the_spool(store)
        until_delivered(folder)
        assert delivered(server.client, folder.uid) == written(folder), store.name
        assert len(delivered(server.client, folder.uid, "step_loss")) == 30
        assert run_of(server.client, folder.uid).info.status == "FINISHED"
        assert load_state(folder.state).refused == 0
        until(lambda store=store: not uploaders(store), PATIENCE, "the uploader stays")
