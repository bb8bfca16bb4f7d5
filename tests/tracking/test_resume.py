"""Which run is meant, which of its checkpoints is furthest."""

import os
from pathlib import Path

import pytest
import torch

from plt_nn.errors import ConfigError
from plt_nn.tracking import Store, store_at
from plt_nn.tracking.resume import (
    RUN_KEY,
    Resumable,
    find_resumable,
    last_checkpoint,
    require_whole_config,
    run_of_checkpoint,
    unknown_run,
)
from plt_nn.tracking.spool.folder import SpoolFolder
from plt_nn.tracking.upload.state import UploadState

FIRST, SECOND = "20261124-133254-1a2b3c4d", "20261125-101010-5e6f7a8b"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two runs of two experiments, of which the first was at work last."""
    store = store_at(tmp_path / "mlruns")
    for number, (experiment, uid) in enumerate([("digits", FIRST), ("photos", SECOND)]):
        folder = store.checkpoints / experiment / uid
        (folder / "checkpoints").mkdir(parents=True)
        (folder / "config.yaml").write_text("trainer: {}\n")
        for path in (folder, folder / "config.yaml", folder / "checkpoints"):
            os.utime(path, (1000 - number, 1000 - number))
        (store.spool / uid).mkdir(parents=True)
        UploadState(run_id=f"mlflow{number}").save(SpoolFolder(store.spool / uid).state)
    return store


def save(folder: Path, name: str, step: int, uid: str | None = None) -> Path:
    path = folder / name
    torch.save(
        {"global_step": step, "state_dict": {}, **({RUN_KEY: {"uid": uid, "experiment": "e"}} if uid else {})}, path
    )
    return path


@pytest.mark.parametrize(
    ("word", "experiment", "uid"),
    [
        ("last", None, FIRST),
        ("last", "photos", SECOND),
        (SECOND, None, SECOND),
        ("mlflow1", None, SECOND),
        ("mlflow0", "photos", FIRST),
    ],
)
def test_which_run_is_meant(word: str, experiment: str | None, uid: str, store: Store) -> None:
    run = find_resumable(store, word, experiment)
    assert run is not None
    assert run.uid == uid
    assert run.experiment == run.folder.parent.name


def test_a_run_that_is_not_there(store: Store) -> None:
    word = FIRST[:-1] + "0"
    assert find_resumable(store, word) is None
    assert f"Did you mean '{FIRST}'" in str(unknown_run(store, word))
    with pytest.raises(ConfigError, match="there is no run of the experiment 'x'"):
        find_resumable(store, "last", "x")


def test_the_furthest_checkpoint(store: Store, tmp_path: Path) -> None:
    run = find_resumable(store, FIRST)
    assert run is not None
    with pytest.raises(ConfigError, match="has no checkpoint in"):
        last_checkpoint(run)
    folder = run.folder / "checkpoints"
    save(folder, "epoch=3.ckpt", 30)
    furthest = save(folder, "epoch=4.ckpt", 40)
    best = save(folder, "best-of-all.ckpt", 20)
    os.utime(best, (2e9, 2e9))
    (folder / "broken.ckpt").write_bytes(furthest.read_bytes()[:100])
    assert last_checkpoint(run) == furthest
    scheduler = save(tmp_path, "hpc_ckpt_2.ckpt", 50, uid=FIRST)
    save(tmp_path, "hpc_ckpt_3.ckpt", 60, uid=SECOND)
    save(tmp_path, "hpc_ckpt_4.ckpt", 70)
    assert last_checkpoint(run, [tmp_path]) == scheduler, "of this run, and no other"
    assert run_of_checkpoint(scheduler) == (FIRST, "e")
    assert run_of_checkpoint(furthest) is None


def test_the_configuration_of_a_run(tmp_path: Path) -> None:
    run = Resumable(FIRST, "e", tmp_path)
    with pytest.raises(ConfigError, match="give the run's configuration with --config"):
        require_whole_config(run.config)
    run.config.write_text("model: {init_args: {token: '***'}}\n")
    with pytest.raises(ConfigError, match="are masked"):
        require_whole_config(run.config)
    run.config.write_text("model: {}\n")
    assert require_whole_config(run.config) == run.config
