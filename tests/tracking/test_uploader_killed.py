"""Uploaders that are killed at any moment, forget how far they are, or meet on one spool: every row arrives once."""

import itertools
import multiprocessing
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from plt_nn import DurableMLFlowLogger
from plt_nn.tracking.spool.events import Params
from plt_nn.tracking.spool.folder import SpoolFolder
from plt_nn.tracking.spool.locks import ProcessLock, is_held
from plt_nn.tracking.upload.deliver_with_retries import upload
from plt_nn.tracking.upload.start import start_uploader
from plt_nn.tracking.upload.state import load_state
from tests import warm
from tests.tracking.read_back import (
    PATIENCE,
    delivered,
    end,
    metrics,
    new_spool,
    run_of,
    until_delivered,
    written,
)
from tests.tracking.servers import Front, MLflowServer, until, uploaders

pytestmark = [pytest.mark.multiprocess, pytest.mark.usefixtures("clean")]

KILLED_AT = (3, 2, 5, 4, 6)  # requests that an uploader has been answered when it is killed


@pytest.mark.slow
def test_an_uploader_that_is_killed_before_it_hears_an_answer(
    server: MLflowServer,
    front: Callable[..., Front],
    warm_uploaders: Callable[[SpoolFolder, dict[str, str]], warm.Process],
    tmp_path: Path,
) -> None:
    """The server has done what it was asked each time: run created, rows stored, run ended."""
    between = front()
    writer = new_spool(tmp_path / "mlruns", between.uri)
    folder = writer.folder
    for number, killed_at in enumerate(KILLED_AT):
        uploader = warm_uploaders(folder, {})
        between.before_answer = _kill_after(uploader, killed_at)
        for step in range(100):
            writer.append(metrics(100 * number + step, loss=step / 7, accuracy=0.5))
        writer.append(Params({f"param{number}": "1"}))
        if number == len(KILLED_AT) - 1:
            writer.append(end())
            writer.close()
        assert uploader.wait(PATIENCE) == -signal.SIGKILL
    between.before_answer = lambda: None
    assert warm_uploaders(folder, {}).wait(PATIENCE) == 0
    run = run_of(server.client, folder.uid)
    assert run.info.status == "FINISHED"
    assert len(run.data.params) == len(KILLED_AT)
    assert delivered(server.client, folder.uid) == written(folder)
    assert len(written(folder)) == 200 * len(KILLED_AT)


@pytest.mark.slow
def test_what_has_been_delivered_is_not_delivered_again_without_the_state(server: MLflowServer, tmp_path: Path) -> None:
    store = tmp_path / "mlruns"
    logger = DurableMLFlowLogger("forgotten", store=str(store), tracking_uri=server.uri, flush_seconds=PATIENCE)
    for step in range(50):
        logger.log_metrics({"loss": 1 / (1 + step)}, step=step)
    logger.log_hyperparams({"a": 1})
    logger.log_text("hello", "notes/a.txt")
    logger.log_text("twice", "b.txt")
    logger.log_text("twice, the second time", "b.txt")
    weights = tmp_path / "best.safetensors"
    weights.write_bytes(b"weights")
    logger.log_model(weights, {"val_loss": 0.5}, step=40)
    logger.finalize("success")
    folder = SpoolFolder(store / "spool" / logger.uid)
    for _ in range(2):
        until_delivered(folder)
        run = run_of(server.client, logger.uid)
        assert (run.info.status, run.data.params) == ("FINISHED", {"a": "1"})
        assert delivered(server.client, logger.uid) == written(folder)
        assert [item.path for item in server.client.list_artifacts(run.info.run_id, "notes")] == ["notes/a.txt"]
        models = server.client.search_logged_models([run.info.experiment_id])
        assert [model.source_run_id for model in models] == [run.info.run_id]
        assert load_state(folder.state).missing == []
        folder.state.unlink()
        assert upload(folder, threading.Event(), patience=PATIENCE)


def test_torn_lines(server: MLflowServer, tmp_path: Path) -> None:
    writer = new_spool(tmp_path / "mlruns", server.uri)
    for step in range(20):
        writer.append(metrics(step, loss=step / 3))
    writer.close()
    folder = writer.folder
    lines = folder.events.read_bytes().splitlines(keepends=True)
    torn = lines[5][: len(lines[5]) // 2] + b"\n"  # the disk was full for a moment
    folder.events.write_bytes(b"".join([*lines[:5], torn, *lines[6:-1], lines[-1][: len(lines[-1]) // 2]]))
    assert upload(folder, threading.Event(), patience=PATIENCE)
    run = run_of(server.client, folder.uid)
    assert run.info.status == "KILLED"
    assert delivered(server.client, folder.uid) == written(folder)
    assert len(written(folder)) == 18
    assert load_state(folder.state).torn == 1
    resumed = type(writer)(
        folder, most_bytes=1 << 30
    )  # as a run that is gone on with; its first line ends the torn one
    resumed.append(metrics(20, loss=20 / 3))
    resumed.append(end())
    resumed.close()
    assert upload(folder, threading.Event(), patience=PATIENCE)
    assert len(delivered(server.client, folder.uid)) == 19
    assert run_of(server.client, folder.uid).info.status == "FINISHED"
    assert load_state(folder.state).torn == 2


@pytest.mark.slow
def test_two_uploaders_on_one_spool(server: MLflowServer, tmp_path: Path) -> None:
    writer = new_spool(tmp_path / "mlruns", server.uri)
    both = [start_uploader(writer.folder, {}) for _ in range(2)]
    for step in range(3000):
        writer.append(metrics(step, loss=step / 7))
    writer.append(end())
    writer.close()
    assert [uploader.wait(PATIENCE) for uploader in both] == [0, 0]
    assert delivered(server.client, writer.folder.uid) == written(writer.folder)
    steps = Counter(point.step for point in delivered(server.client, writer.folder.uid).elements())
    assert steps == Counter(range(3000))


@pytest.mark.slow
def test_rows_that_come_as_the_uploader_leaves(server: MLflowServer, tmp_path: Path) -> None:
    """A logger that is used again at the very moment at which its uploader has nothing more to do."""
    store = tmp_path / "mlruns"
    logger = DurableMLFlowLogger("again", store=str(store), tracking_uri=server.uri, flush_seconds=PATIENCE)
    folder = SpoolFolder(store / "spool" / logger.uid)
    for step in range(5):
        logger.log_metrics({"loss": float(step)}, step=step)
        logger.finalize("success")
        until(lambda: load_state(folder.state).finished_at is not None, PATIENCE, "not delivered")
    until_delivered(folder)
    assert delivered(server.client, logger.uid) == written(folder)
    assert len(written(folder)) == 5
    assert run_of(server.client, logger.uid).info.status == "FINISHED"
    until(lambda: not uploaders(store), PATIENCE, "an uploader stays")


def test_a_failing_uploader_is_not_joined_by_others(front: Callable[..., Front], tmp_path: Path) -> None:
    store = tmp_path / "mlruns"
    logger = DurableMLFlowLogger("again", store=str(store), tracking_uri=front().uri, flush_seconds=PATIENCE)
    logger.log_metrics({"loss": 1.0}, step=1)
    logger.finalize("success")
    until_delivered(SpoolFolder(store / "spool" / logger.uid))
    again = DurableMLFlowLogger(
        "again", store=str(store), tracking_uri=front("500").uri, flush_seconds=0.1, resume=logger.uid
    )
    for step in range(5):
        again.log_metrics({"loss": 1.0}, step=step)
        with pytest.warns(UserWarning, match="not in MLflow yet"):
            again.finalize("success")
    # One, once that of the first logger has gone; each of many would stay for as long as the server fails.
    until(lambda: len(uploaders(store)) == 1, PATIENCE, f"{len(uploaders(store))} uploaders")


def test_looking_whether_a_lock_is_held_does_not_keep_it_from_others(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    looking = multiprocessing.get_context("spawn").Process(target=_look, args=(path,), daemon=True)
    looking.start()
    until(path.exists, PATIENCE, "nobody looks")
    lock = ProcessLock(path)
    for _ in range(100):
        assert lock.take()
        lock.release()
    os.kill(looking.pid or 0, signal.SIGKILL)
    looking.join()


def _kill_after(uploader: warm.Process, answers: int) -> Callable[[], None]:
    left = itertools.count(answers - 1, -1)

    def kill() -> None:
        if next(left) <= 0:
            uploader.kill()

    return kill


def _look(path: Path) -> None:
    path.touch()
    while True:
        is_held(path)
