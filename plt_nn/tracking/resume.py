"""Finding a run to resume: its checkpoint and its configuration, here or in MLflow."""

import re
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch

from plt_nn.errors import ConfigError, did_you_mean
from plt_nn.tracking.masking import masked_text
from plt_nn.tracking.mlflow_client import asking, mlflow_client
from plt_nn.tracking.read.find_run import LAST, find_run_on_server
from plt_nn.tracking.spool.folder import UID_PATTERN, SpoolFolder
from plt_nn.tracking.store import Store
from plt_nn.tracking.tags import CHECKPOINTS, CONFIG_FILE, UID
from plt_nn.tracking.upload.state import load_state

RUN_KEY = "plt_nn_run"  # in a checkpoint: the run that saved it


class Resumable(NamedTuple):
    """A run to resume."""

    uid: str
    experiment: str  # its experiment's name
    folder: Path  # its folder among the checkpoints

    @property
    def config(self) -> Path:
        """The configuration that it was started with."""
        return self.folder / CONFIG_FILE


def find_resumable(store: Store, word: str, experiment: str | None = None) -> Resumable | None:
    """The run of a store that a word means.

    Args:
        store: Where to look.
        word: A uid, MLflow's id of the run, or `last` for the one that was active last.
        experiment: With `last`: only runs of this experiment.

    Raises:
        ConfigError: With `last`, if there is no run.
    """
    runs = _runs(store)
    if word == LAST:
        fitting = [run for run in runs if experiment in (None, run.experiment)]
        if not fitting:
            of = f" of the experiment {experiment!r}" if experiment else ""
            raise ConfigError(
                f"--resume last: there is no run{of} in {store.root} yet; leave --resume out to start one."
            )
        return max(fitting, key=lambda run: _last_activity(store, run))
    states = {run.uid: load_state(SpoolFolder(store.spool / run.uid).state) for run in runs}
    return next((run for run in runs if word in (run.uid, states[run.uid].run_id)), None)


def fetch_run(uri: str, store: Store, word: str) -> Resumable | None:
    """Downloads what resuming needs into the store, for a run that was started on another machine.

    Args:
        uri: The address of the MLflow server.
        store: Where the configuration and the checkpoints are put.
        word: The run's uid or MLflow's id.

    Returns:
        The run; None if the server knows none of this name.

    Raises:
        ConfigError: If no checkpoint of the run is in MLflow.
        TrackingError: If the server does not answer.
    """
    found = find_run_on_server(uri, word)
    if found is None:
        return None
    client = mlflow_client(uri)
    with asking(uri, f"could not give the files of the run {word}"):
        uid = client.get_run(found.run).data.tags.get(UID, "")
        experiment = client.get_experiment(found.experiment).name
        run = Resumable(uid, experiment, store.checkpoints / experiment / uid)
        names = [item.path for item in client.list_artifacts(found.run, CHECKPOINTS)]
        if not uid or not any(name.endswith(".ckpt") for name in names):
            raise ConfigError(
                f"--resume {word}: no checkpoint of this run is in MLflow at {masked_text(uri)}. Runs that are to be "
                "resumed on another machine need `checkpoints: last` (or `all`) of DurableMLFlowLogger."
            )
        run.folder.mkdir(parents=True, exist_ok=True)
        for name in [CONFIG_FILE, *names]:
            with TemporaryDirectory(dir=run.folder) as partial:  # where in it MLflow puts a file depends on the store
                target = run.folder / name
                target.parent.mkdir(exist_ok=True)
                Path(client.download_artifacts(found.run, name, partial)).replace(target)
    return run


def unknown_run(store: Store, word: str) -> ConfigError:
    """The error for a word that means no run."""
    near = did_you_mean(word, [run.uid for run in _runs(store)])
    return ConfigError(f"--resume {word}: there is no such run in {store.root}.{near} `last` means the latest.")


def last_checkpoint(run: Resumable, more: Iterable[Path] = ()) -> Path:
    """The checkpoint of a run that has trained longest.

    Args:
        run: The run.
        more: Folders in which a scheduler's checkpoints may lie; only those of the run count.

    Raises:
        ConfigError: If there is none.
    """
    found = [(path, _origin(path)) for path in (run.folder / CHECKPOINTS).glob("*.ckpt")]
    for path in [path for folder in more for path in folder.glob("hpc_ckpt_*.ckpt")]:
        origin = _origin(path)
        if origin is not None and origin["uid"] == run.uid:
            found.append((path, origin))
    good = [(origin["step"], path.stat().st_mtime, path) for path, origin in found if origin is not None]
    if not good:
        raise ConfigError(
            f"--resume: the run {run.uid} has no checkpoint in {run.folder / CHECKPOINTS}: it ended before the first "
            "was saved, or they lie elsewhere (then --ckpt_path names one). Leave --resume out to start anew."
        )
    return max(good)[2]


def run_of_checkpoint(path: Path) -> tuple[str, str] | None:
    """The uid and the experiment of the run that saved a checkpoint, if the checkpoint holds them."""
    origin = _origin(path)
    return (origin["uid"], origin["experiment"]) if origin is not None and origin["uid"] else None


def require_whole_config(path: Path) -> Path:
    """The configuration saved with a run, if it can be used again.

    Raises:
        ConfigError: If it is missing, or if secrets in it were masked.
    """
    if not path.is_file():
        raise ConfigError(f"--resume: there is no {path}; give the run's configuration with --config.")
    if "'***'" in path.read_text():
        raise ConfigError(f"--resume: secrets in {path} are masked; give the run's own configuration with --config.")
    return path


def _runs(store: Store) -> list[Resumable]:
    folders = [folder for folder in store.checkpoints.glob("*/*") if re.fullmatch(UID_PATTERN, folder.name)]
    return [Resumable(folder.name, folder.parent.name, folder) for folder in folders]


def _last_activity(store: Store, run: Resumable) -> float:
    files = [SpoolFolder(store.spool / run.uid).events, *run.folder.glob(f"{CHECKPOINTS}/*")]
    files += [run.folder, run.config]
    return max(path.stat().st_mtime for path in files if path.exists())


def _origin(path: Path) -> dict[str, Any] | None:
    """The step and the run of a checkpoint, without reading its weights; None if it is damaged."""
    try:
        held = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception:  # noqa: BLE001  # a file cut short makes torch raise anything
        return None
    run = held.get(RUN_KEY) or {}
    return {"step": int(held.get("global_step", 0)), "uid": run.get("uid"), "experiment": run.get("experiment")}
