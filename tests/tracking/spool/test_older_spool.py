"""A spool that version 0.1.0 wrote before its events were classes is still read, and delivered as that version did.

`of_version_0_1/store` has an event of every kind, of a run that failed and was resumed; `delivered.json` is what its
uploader made of it, `state_after_first_end.json` the state that it saved after the first end.
"""

import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from plt_nn.tracking.read.spool_runs import spool_run
from plt_nn.tracking.spool.events import KINDS, UnknownEvent, encode
from plt_nn.tracking.spool.folder import SpoolFolder, spool_folders
from plt_nn.tracking.spool.reader import read_events
from plt_nn.tracking.store import store_at
from plt_nn.tracking.upload.deliver_with_retries import upload
from plt_nn.tracking.upload.state import load_state
from tests.tracking.read_back import run_of

OLDER = Path(__file__).with_name("of_version_0_1")
DELIVERED: dict[str, Any] = json.loads((OLDER / "delivered.json").read_text())


@pytest.fixture
def folder(tmp_path: Path, new_store: Callable[[Path], str]) -> SpoolFolder:
    """The older spool in a store with an empty database."""
    root = Path(new_store(tmp_path / "store"))
    shutil.copytree(OLDER / "store", root, dirs_exist_ok=True)
    (found,) = spool_folders(root)
    return found


def test_every_kind_of_event_is_known_and_written_as_it_was(folder: SpoolFolder) -> None:
    events = [read.event for read in read_events(folder.events)]
    assert {type(event) for event in events} == set(KINDS.values())
    lines = [json.loads(line) for line in folder.events.read_bytes().splitlines()]
    written = [json.loads(encode(event)) for event in events if event is not None]
    assert json.dumps(written, sort_keys=True) == json.dumps(lines, sort_keys=True), "older code reads it too"


def test_it_is_delivered_with_all_rows_params_tags_and_files(folder: SpoolFolder) -> None:
    deliver(folder)
    assert in_mlflow(folder) == DELIVERED
    run = spool_run(folder)
    assert run is not None
    assert (run.record.params["lr"], run.record.last["loss"].value, run.record.status) == ("0.1", 20.0, "FINISHED")


def test_delivery_continues_from_an_older_state(folder: SpoolFolder) -> None:
    shutil.copy(OLDER / "state_after_first_end.json", folder.state)
    deliver(folder)
    found = in_mlflow(folder)
    for part in ("status", "artifacts", "model_metrics"):
        assert found[part] == DELIVERED[part], part
    assert [step for step, _, _ in found["rows"]["loss"]] == [3, 4, 5, 6, 7], "what is said to be delivered is not sent"


def test_a_line_without_a_field_that_it_needs_is_set_aside(folder: SpoolFolder) -> None:
    with folder.events.open("a") as lines:
        lines.write('{"kind":"metrics","step":8,"metrics":{"loss":1.0}}\n{"kind":"end","time":1,"reason":null}\n')
    assert [type(read.event) for read in read_events(folder.events)][-2:] == [UnknownEvent, UnknownEvent]
    assert upload(folder, threading.Event(), patience=60), load_state(folder.state).error
    assert load_state(folder.state).refused == len(folder.quarantine.read_text().splitlines()) == 2


def deliver(folder: SpoolFolder) -> None:
    assert upload(folder, threading.Event(), patience=60), load_state(folder.state).error
    assert (load_state(folder.state).refused, load_state(folder.state).missing) == (0, [])


def in_mlflow(folder: SpoolFolder) -> dict[str, Any]:
    """What MLflow has of the run of a spool, as `delivered.json` holds it."""
    client = MlflowClient(store_at(folder.store).uri)
    run = run_of(client, folder.uid)
    histories = {key: client.get_metric_history(run.info.run_id, key) for key in run.data.metrics}
    (model,) = client.search_logged_models([run.info.experiment_id])
    assert run.inputs is not None
    found = {
        "status": run.info.status,
        "name": run.info.run_name,
        "start": run.info.start_time,
        "end": run.info.end_time,
        "params": run.data.params,
        "tags": run.data.tags,
        "rows": {key: sorted([r.step, r.timestamp, str(r.value)] for r in rows) for key, rows in histories.items()},
        "artifacts": sorted(artifacts(client, run.info.run_id)),
        "inputs": sorted(
            [i.tags[0].value, i.dataset.name, i.dataset.digest, i.dataset.source, i.dataset.profile]
            for i in run.inputs.dataset_inputs
        ),
        "model_tags": dict(model.tags),
        "model_metrics": [[metric.key, metric.value, metric.step] for metric in model.metrics or []],
    }
    return dict(json.loads(json.dumps(found)))


def artifacts(client: MlflowClient, run_id: str, folder: str | None = None) -> list[str]:
    items = client.list_artifacts(run_id, folder)
    return [path for item in items for path in (artifacts(client, run_id, item.path) if item.is_dir else [item.path])]
