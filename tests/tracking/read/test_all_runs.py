"""Runs that are read back: the database, a server and MLflow's own client say the same."""

import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mlflow.entities import Metric, Run

from plt_nn import DurableMLFlowLogger
from plt_nn.errors import TrackingError
from plt_nn.tracking import store_at
from plt_nn.tracking.read.all_runs import AllRuns
from plt_nn.tracking.read.database_reader import DatabaseReader
from plt_nn.tracking.read.server_reader import ServerReader
from plt_nn.tracking.read.spool_runs import spool_run
from tests.ports import free_port
from tests.tracking.servers import MLflowServer, end_uploaders


def test_the_database_and_the_server_say_the_same(server: MLflowServer) -> None:
    client = server.client
    experiment = client.create_experiment(f"read back {time.time_ns()}")
    name = client.get_experiment(experiment).name
    ids = []
    for number in range(2):
        run = client.create_run(experiment, start_time=1000 + number, run_name=f"it's {number}")
        rows = [Metric("loss", 1.0 / (step + 1), 2000 + step, step) for step in (3, 1, 2)]
        rows += [Metric("loss", math.nan, 2010, 4), Metric("loss", 0.9, 2011, 1), Metric("a/b c", 5.0, 2000, 0)]
        client.log_batch(run.info.run_id, rows)
        client.log_param(run.info.run_id, "lr", "0.1")
        client.log_text(run.info.run_id, "hello", "figures/note.txt")
        client.set_terminated(run.info.run_id, "FAILED", end_time=5000)
        ids.append(run.info.run_id)
    client.delete_run(client.create_run(experiment).info.run_id)

    database = DatabaseReader(f"sqlite:///{server.folder / 'mlflow.db'}")
    assert database._hint, "without this index SQLite walks through all runs for each"
    readers: list[DatabaseReader | ServerReader] = [database, ServerReader(server.uri)]
    runs = [reader.runs([name]) for reader in readers]
    assert str(runs[0]) == str(runs[1]), "as texts, in which NaN equals itself"
    assert [run.id for run in runs[0]] == ids[::-1]
    first = runs[0][0]
    assert (first.name, first.status, first.began, first.ended) == ("it's 1", "FAILED", 1001, 5000)
    for reader, found in zip(readers, runs, strict=True):
        assert name in reader.experiments()
        histories = reader.histories(found)[first.id]
        assert histories["loss"].steps.tolist() == [1, 2, 3, 4]
        np.testing.assert_array_equal(histories["loss"].values, [0.9, 1 / 3, 0.25, math.nan])
        assert histories["a/b c"].times.tolist() == [2000]
        assert reader.histories(found, ["loss", "absent"])[first.id].keys() == {"loss"}
        at_step = {step: reader.histories([first], ["loss"], step)[first.id]["loss"].at(step) for step in (2, 4, 9)}
        assert at_step == {2: 1 / 3, 4: None, 9: None}
        assert reader.histories([first], ["absent"], 1) == {first.id: {}}
    assert readers[1].artifact(first, "figures/note.txt") == b"hello"
    assert readers[1].artifact(first, "figures/none.txt") is None
    with pytest.raises(TrackingError):  # they lie with the server
        readers[0].artifact(first, "figures/note.txt")


def test_a_server_that_is_not_there_is_told() -> None:
    with pytest.raises(TrackingError, match="did not give its runs"):
        ServerReader(f"http://127.0.0.1:{free_port()}").experiments()


@pytest.fixture
def patient(tmp_path: Path, new_store: Callable[[Path], str], warm_uploaders: object) -> DurableMLFlowLogger:
    """A logger that waits for delivery on a busy machine too."""
    return DurableMLFlowLogger("an experiment", store=new_store(tmp_path / "store"), flush_seconds=200)


def test_a_spool_says_what_mlflow_says(patient: DurableMLFlowLogger, delivered: Callable[..., Run]) -> None:
    logger = patient
    logger.log_hyperparams({"lr": 0.1, "net": {"width": 3}})
    for step in range(5):
        logger.log_metrics({"loss": math.inf if step == 2 else 1.0 / (step + 1), "epoch": step // 2}, step)
    logger.log_dataset("photos", "validation", "abc", "somewhere", {})
    logger.log_tags({"devices": "1 x CPU"})
    delivered(logger)
    reader = AllRuns(logger.store)
    (stored,) = reader.runs(["an experiment"])
    spool = spool_run(logger.spool_folder)
    assert spool is not None
    record = spool.record
    assert (record.id, record.status, record.params, record.data) == (stored.id, "FINISHED", stored.params, stored.data)
    assert record.tags.items() <= stored.tags.items()
    ours, theirs = spool.histories(), DatabaseReader(logger.store.uri).histories([stored])
    assert ours.keys() == theirs.keys()
    for name, history in theirs[stored.id].items():
        for one, other in zip(ours[stored.id][name], history, strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_resumed_run_keeps_the_rows_of_the_first_attempt(
    patient: DurableMLFlowLogger, delivered: Callable[..., Run]
) -> None:
    logger = patient
    for step in range(4):
        logger.log_metrics({"loss": 1.0 + step}, step)
    logger.finalize("success")
    again = DurableMLFlowLogger("an experiment", store=str(logger.store.root), resume=logger.uid, flush_seconds=200)
    assert logger._spool is not None
    logger._spool._writer.close()
    for step in range(2, 6):
        again.log_metrics({"loss": 10.0 + step}, step)
    delivered(again)
    spool = spool_run(logger.spool_folder)
    assert spool is not None
    (run,) = AllRuns(logger.store).runs(["an experiment"])
    stored = DatabaseReader(logger.store.uri).histories([run])[run.id]["loss"]
    assert spool.histories()[run.id]["loss"].values.tolist() == stored.values.tolist() == [1, 2, 3, 4, 14, 15]


def test_what_is_not_delivered_is_read_from_disk(tmp_path: Path) -> None:
    logger = DurableMLFlowLogger(
        "flowers", store=str(tmp_path / "store"), tracking_uri=f"http://127.0.0.1:{free_port()}", flush_seconds=0
    )
    logger.log_metrics({"loss": 0.5, "epoch": 0}, 7)
    try:
        reader = AllRuns(store_at(tmp_path / "store"))
        (run,) = reader.runs(reader.experiments())
        assert (run.id, run.status, run.last["loss"].value) == (logger.uid, "RUNNING", 0.5)
        assert reader.value_at(run, "loss", 7) == 0.5
        assert reader.histories([run], ["loss"])[run.id]["loss"].steps.tolist() == [7]
        assert reader.artifact(run, "report.html") is None
    finally:
        end_uploaders(tmp_path / "store")
