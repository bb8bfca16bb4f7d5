"""Finding a run to go on with: its checkpoint and its configuration, here or in MLflow."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from plt_nn.errors import ConfigError, did_you_mean
from plt_nn.tracking.read.find_run import LAST
from plt_nn.tracking.spool.folder import SpoolFolder
from plt_nn.tracking.store import Store
from plt_nn.tracking.tags import CHECKPOINTS, CONFIG_FILE
from plt_nn.tracking.uid import UID_PATTERN
from plt_nn.tracking.upload.state import load_state

RUN_KEY = "plt_nn_run"  # in a checkpoint: the run that has made it


class Resumable(NamedTuple):
    """A run to go on with.

    Attributes:
        uid: Its uid.
        experiment: Its experiment's name.
        folder: Its folder among the checkpoints.
    """

    uid: str
    experiment: str
    folder: Path

    @property
    def config(self) -> Path:
        """The configuration that it was made with."""
        return self.folder / CONFIG_FILE


def find_resumable(store: Store, word: str, experiment: str | None = None) -> Resumable | None:
    """The run of a store that a word means.

    Args:
        store: Where to look.
        word: A uid, MLflow's id of the run, or `last` for the one that was at work last.
        experiment: With `last`: only runs of this experiment.

    Raises:
        ConfigError: With `last`, if there is none.
    """
    runs = _runs(store)
    if word == LAST:
        fitting = [run for run in runs if experiment in (None, run.experiment)]
        if not fitting:
            of = f" of the experiment {experiment!r}" if experiment else ""
            raise ConfigError(
                f"--resume last: there is no run{of} in {store.root} yet; leave --resume out to begin one."
            )
        return max(fitting, key=lambda run: _last_sign(store, run))
    return next((run for run in runs if word in (run.uid, _mlflow_id(store, run.uid))), None)


def unknown_run(store: Store, word: str) -> ConfigError:
    """The error for a word that means no run."""
    near = did_you_mean(word, [run.uid for run in _runs(store)])
    return ConfigError(f"--resume {word}: there is no such run in {store.root}.{near} `last` means the latest.")


def last_checkpoint(run: Resumable, more: Iterable[Path] = ()) -> Path:
    """The checkpoint of a run that is furthest.

    Args:
        run: The run.
        more: Folders in which a scheduler's checkpoints may lie; only those of the run count.

    Raises:
        ConfigError: If there is none.
    """
    found = [(path, _place(path)) for path in (run.folder / CHECKPOINTS).glob("*.ckpt")]
    for path in [path for folder in more for path in folder.glob("hpc_ckpt_*.ckpt")]:
        place = _place(path)
        if place is not None and place["uid"] == run.uid:
            found.append((path, place))
    good = [(place["step"], path.stat().st_mtime, path) for path, place in found if place is not None]
    if not good:
        raise ConfigError(
            f"--resume: the run {run.uid} has no checkpoint in {run.folder / CHECKPOINTS}: it ended before the first "
            "was saved, or they lie elsewhere (then --ckpt_path names one). Leave --resume out to begin anew."
        )
    return max(good)[2]


def run_of_checkpoint(path: Path) -> tuple[str, str] | None:
    """The uid and the experiment of the run that has made a checkpoint, if it says so."""
    place = _place(path)
    return (place["uid"], place["experiment"]) if place is not None and place["uid"] else None


def require_whole_config(path: Path) -> Path:
    """The configuration kept with a run, if it can be used again.

    Raises:
        ConfigError: If it is not there, or if secrets in it were masked.
    """
    if not path.is_file():
        raise ConfigError(f"--resume: there is no {path}; give the run's configuration with --config.")
    if "'***'" in path.read_text():
        raise ConfigError(f"--resume: secrets in {path} are masked; give the run's own configuration with --config.")
    return path


def _runs(store: Store) -> list[Resumable]:
    folders = [folder for folder in store.checkpoints.glob("*/*") if re.fullmatch(UID_PATTERN, folder.name)]
    return [Resumable(folder.name, folder.parent.name, folder) for folder in folders]


def _last_sign(store: Store, run: Resumable) -> float:
    signs = [run.folder, run.config, SpoolFolder(store.spool / run.uid).events]
    return max(path.stat().st_mtime for path in [*signs, *run.folder.glob(f"{CHECKPOINTS}/*")] if path.exists())


def _mlflow_id(store: Store, uid: str) -> str | None:
    return load_state(SpoolFolder(store.spool / uid).state).run_id


def _place(path: Path) -> dict[str, Any] | None:
    """How far a checkpoint is and whose it is, without reading its weights; None if it is damaged."""
    try:
        held = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception:  # noqa: BLE001  # a file cut short makes torch raise anything
        return None
    run = held.get(RUN_KEY) or {}
    return {"step": int(held.get("global_step", 0)), "uid": run.get("uid"), "experiment": run.get("experiment")}
