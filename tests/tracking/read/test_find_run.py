"""Finding runs of a store by their names."""

from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from plt_nn.tracking import Store, store_at
from plt_nn.tracking.read.find_run import find_run, find_run_on_server, names_of_runs
from plt_nn.tracking.tags import UID


@pytest.fixture
def runs(tmp_path: Path, new_store: Callable[[Path], str]) -> tuple[Store, dict[str, str]]:
    """A store with three runs in two experiments, and their ids by their uids."""
    store = store_at(new_store(tmp_path / "runs"))
    client = MlflowClient(store.uri)
    ids = {}
    for number, uid in enumerate(["20261124-133254-1a2b3c4d", "20261124-133254-ffffffff", "it's"]):
        experiment = client.create_experiment(f"number {number}", store.artifacts(f"{number}"))
        ids[uid] = client.create_run(experiment, start_time=1000 - number, tags={UID: uid}).info.run_id
    return store, ids


def test_by_id_uid_and_last(runs: tuple[Store, dict[str, str]]) -> None:
    store, ids = runs
    for number, (uid, run) in enumerate(ids.items(), start=1):
        assert find_run(store, uid) == find_run(store, run) == (str(number), run)
    first = next(iter(ids.values()))
    assert find_run(store, "last") == ("1", first), "the one that was started last, not the one that was made last"
    assert find_run(store, "another") is find_run(store, "' OR 1=1 --") is find_run(store, "") is None
    assert names_of_runs(store) == list(ids)


def test_a_deleted_run_is_found_by_its_id_alone(runs: tuple[Store, dict[str, str]]) -> None:
    store, ids = runs
    uid, run = next(iter(ids.items()))
    MlflowClient(store.uri).delete_run(run)
    assert find_run(store, uid) is None
    assert find_run(store, run) == ("1", run)
    assert find_run(store, "last") == ("2", ids["20261124-133254-ffffffff"])
    assert uid not in names_of_runs(store)


def test_the_client_finds_the_same(runs: tuple[Store, dict[str, str]]) -> None:
    store, ids = runs
    for name in [*ids.values(), "20261124-133254-1a2b3c4d", "last", "another", "x'y"]:
        assert find_run_on_server(store.uri, name) == find_run(store, name), name


def test_a_store_without_runs(tmp_path: Path, new_store: Callable[[Path], str]) -> None:
    store = store_at(new_store(tmp_path / "runs"))
    assert find_run(store, "last") is None
    assert names_of_runs(store) == []
