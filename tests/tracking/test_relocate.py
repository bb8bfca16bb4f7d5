"""Stores whose folder was moved, copied or renamed: MLflow finds the artifacts again."""

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import mlflow.artifacts
import pytest
from mlflow.entities import Dataset, DatasetInput, Run
from mlflow.tracking import MlflowClient

from plt_nn.errors import ConfigError, TrackingError
from plt_nn.tracking import Store, store_at
from plt_nn.tracking.relocate import relocate, stale_roots

NAMES = ["new", "a space", "100% ü", "mlruns2"]


def fill(store: Store, experiment: str = "an experiment") -> None:
    """One of everything that has a place: run, artifact, logged model, version, dataset, trace, tags."""
    client = MlflowClient(store.uri)
    number = client.create_experiment(experiment, store.artifacts(experiment))
    run = client.create_run(number).info.run_id
    client.log_text(run, "a text", "folder/text.txt")
    model = client.create_logged_model(number, name="net", source_run_id=run)
    (store.root / "weights").write_text("weights")
    client.log_model_artifact(model.model_id, str(store.root / "weights"))
    client.finalize_logged_model(model.model_id, "READY")
    client.create_registered_model(f"net of {experiment}")
    client.create_model_version(f"net of {experiment}", model.artifact_location, run, model_id=model.model_id)
    source = json.dumps({"uri": str(store.root / "data.csv")})
    client.log_inputs(run, datasets=[DatasetInput(Dataset("data", experiment[:8], "local", source), tags=[])])
    client.set_tag(run, "checkpoint", str(store.root / "checkpoints" / "best.ckpt"))
    client.log_param(run, "store", str(store.root))
    span = client.start_trace("a trace", experiment_id=number)
    client.end_trace(span.trace_id)
    mlflow.flush_trace_async_logging(terminate=False)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with everything. To be copied, and the copy moved."""
    folder = tmp_path_factory.mktemp("filled") / "mlruns"
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(store_at(folder).uri)  # MLflow's tracing writes there, whatever the client says
    folder.mkdir()
    fill(store_at(folder))
    mlflow.set_tracking_uri(before)
    return folder


@pytest.fixture
def old(filled: Path, tmp_path: Path) -> Path:
    """That store in a folder of its own, and right there."""
    folder = tmp_path / "some where" / "mlruns"
    shutil.copytree(filled, folder)
    relocate(store_at(folder))
    (folder / "mlflow.db.before-relocate").unlink()
    return folder


def run_of(store: Store) -> Run:
    (run,) = MlflowClient(store.uri).search_runs(["1"])
    return run


def texts(store: Store) -> list[str]:
    """Every text in the database."""
    found: list[str] = []
    with closing(sqlite3.connect(store.root / "mlflow.db")) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            rows = connection.execute(f'SELECT * FROM "{table}"')
            found += [str(value) for row in rows for value in row if isinstance(value, str)]
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_moved_store_lists_and_gives_its_artifacts(old: Path, tmp_path: Path, name: str) -> None:
    new = store_at(tmp_path / name)
    old.rename(new.root)
    client = MlflowClient(new.uri)
    assert client.list_artifacts(run_of(new).info.run_id) == [], "why this is needed"
    done = relocate(new)
    run = run_of(new).info.run_id
    assert [item.path for item in client.list_artifacts(run, "folder")] == ["folder/text.txt"]
    assert Path(client.download_artifacts(run, "folder/text.txt")).read_text() == "a text"
    (model,) = client.search_logged_models(["1"])
    assert Path(mlflow.artifacts.download_artifacts(f"{model.artifact_location}/weights")).read_text() == "weights"
    place = Path(client.get_model_version_download_uri("net of an experiment", "1").removeprefix("file://"))
    assert place.name == "artifacts"
    assert done.roots == (old,)
    assert done.counts == {
        "experiments": 1,
        "runs": 1,
        "logged models": 1,
        "model versions": 2,
        "traces": 1,
    }


def test_only_what_is_history_still_names_the_old_folder(old: Path, filled: Path, tmp_path: Path) -> None:
    new = store_at(tmp_path / "new")
    old.rename(new.root)
    relocate(new)
    named = [text for text in texts(new) if str(old) in text or old.as_uri() in text]
    assert named == [], "every place of an artifact"
    run, history = run_of(new), str(filled)
    assert (run.data.params["store"], run.data.tags["checkpoint"]) == (history, f"{history}/checkpoints/best.ckpt")
    assert run.inputs is not None
    assert json.loads(run.inputs.dataset_inputs[0].dataset.source) == {"uri": f"{history}/data.csv"}


def test_the_second_time_there_is_nothing_to_do(old: Path, tmp_path: Path) -> None:
    new = store_at(tmp_path / "new")
    old.rename(new.root)
    assert stale_roots(new) == (old,)
    assert relocate(new).backup == new.root / "mlflow.db.before-relocate"
    assert stale_roots(new) == ()
    before = (new.root / "mlflow.db").read_bytes()
    assert relocate(new, [old]).counts == relocate(new).counts == {}
    assert (new.root / "mlflow.db").read_bytes() == before


def test_the_database_as_it_was_is_kept(old: Path, tmp_path: Path) -> None:
    new = store_at(tmp_path / "new")
    old.rename(new.root)
    before = sorted(texts(new))
    backup = relocate(new).backup
    assert backup is not None
    assert not list(new.root.glob("*.unfinished"))
    shutil.copy(backup, new.root / "mlflow.db")
    assert sorted(texts(new)) == before


def test_a_copy_has_its_own_artifacts(old: Path, tmp_path: Path) -> None:
    new = store_at(tmp_path / "copy")
    shutil.copytree(old, new.root)
    assert relocate(new).roots == (old,)
    run = run_of(new).info.run_id
    MlflowClient(new.uri).log_text(run, "of the copy", "new.txt")
    assert [item.path for item in MlflowClient(store_at(old).uri).list_artifacts(run)] == ["folder"]


def test_several_old_folders_at_once(old: Path, tmp_path: Path) -> None:
    middle, new = store_at(tmp_path / "middle"), store_at(tmp_path / "new")
    old.rename(middle.root)
    client = MlflowClient(middle.uri)
    client.create_experiment("a/b", middle.artifacts("a/b"))
    client.create_experiment("renamed", middle.artifacts("before"))
    middle.root.rename(new.root)
    assert relocate(new).roots == (old, middle.root)
    places = {found.name: found.artifact_location for found in MlflowClient(new.uri).search_experiments()}
    assert places["an experiment"] == new.artifacts("an experiment")
    assert places["a/b"] == new.artifacts("a/b")
    assert places["renamed"] == new.artifacts("before")


def test_a_place_that_is_meant_stays_unless_it_is_named(old: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    client = MlflowClient(store_at(old).uri)
    client.create_experiment("on a disk", (disk / "artifacts" / "on a disk").as_uri())
    client.create_experiment("in a bucket", "s3://bucket/artifacts/in a bucket")
    (disk / "artifacts" / "on a disk").mkdir(parents=True)
    done = relocate(store_at(old))
    assert (done.counts, done.unchanged) == ({}, ((disk / "artifacts" / "on a disk").as_uri(),))
    shutil.rmtree(disk)
    assert relocate(store_at(old)).unchanged, "a disk that is not mounted now"
    done = relocate(store_at(old), [disk])
    assert (done.counts, done.unchanged) == ({"experiments": 1}, ())


def test_a_link_to_the_same_folder_is_no_move(old: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(old)
    assert relocate(store_at(tmp_path / "link")).counts == {}


def test_nothing_is_written_while_somebody_else_may_write(old: Path, tmp_path: Path) -> None:
    new = store_at(tmp_path / "new")
    old.rename(new.root)
    code = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT 1 FROM runs'); print(flush=True)"
    other = subprocess.Popen(
        [sys.executable, "-c", f"{code}; input()", str(new.root / "mlflow.db")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert other.stdout is not None
    other.stdout.readline()
    try:
        with pytest.raises(
            TrackingError, match=rf"is open in process {other.pid} \(.*end `plt-nn ui` and all training"
        ):
            relocate(new)
    finally:
        other.communicate(b"\n")
    assert not (new.root / "mlflow.db.before-relocate").exists()
    assert relocate(new).counts


def test_a_lock_that_is_held_is_waited_for_and_then_told(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = store_at(tmp_path / "new")
    old.rename(new.root)
    monkeypatch.setattr("plt_nn.tracking.relocate._PATIENCE", 0.2)
    with new.lock(), pytest.raises(TrackingError, match="is in use"):
        relocate(new)
    with closing(sqlite3.connect(new.root / "mlflow.db", isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        with pytest.raises(TrackingError, match="is in use: database is locked"):
            relocate(new)
    assert relocate(new).counts


def test_an_error_on_the_way_leaves_everything_as_it_was(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = store_at(tmp_path / "new")
    old.rename(new.root)
    with closing(sqlite3.connect(new.root / "mlflow.db")) as connection:
        connection.execute("CREATE TRIGGER stop BEFORE UPDATE ON runs BEGIN SELECT RAISE(ABORT, 'stopped here'); END")
    before = sorted(texts(new))
    with pytest.raises(sqlite3.IntegrityError, match="stopped here"):
        relocate(new)
    assert sorted(texts(new)) == before


def test_a_database_of_another_mlflow(old: Path, tmp_path: Path) -> None:
    new = store_at(tmp_path / "new")
    old.rename(new.root)
    with closing(sqlite3.connect(new.root / "mlflow.db")) as connection:
        connection.execute("DROP TABLE trace_tags")
    assert relocate(new).counts["runs"] == 1


def test_a_database_that_mlflow_has_not_filled_yet(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").touch()
    assert stale_roots(store_at(tmp_path)) == ()
    assert relocate(store_at(tmp_path)).counts == {}


def test_without_a_store(tmp_path: Path, new_store: Callable[[Path], str]) -> None:
    with pytest.raises(ConfigError, match=r"there are no runs in .*nowhere"):
        relocate(store_at(tmp_path / "nowhere"))
    assert not (tmp_path / "nowhere").exists()
