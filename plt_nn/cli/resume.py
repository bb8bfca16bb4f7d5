"""`plt-nn fit --resume RUN|last`: the words of the command line with what resuming means."""

import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch.utilities import rank_zero_only

from plt_nn.errors import ConfigError
from plt_nn.tracking.mlflow_client import is_server
from plt_nn.tracking.read.find_run import LAST
from plt_nn.tracking.resume import (
    Resumable,
    fetch_run,
    find_resumable,
    last_checkpoint,
    require_whole_config,
    unknown_run,
)
from plt_nn.tracking.spool.folder import SpoolFolder
from plt_nn.tracking.store import Store, store_at

_OPTION = "--resume"


def without_resume(words: Sequence[str]) -> tuple[list[str], Resumable | None]:
    """The command line of a fit without `--resume`, and with the configuration and the checkpoint in its place.

    A configuration or a checkpoint that the words name themselves are taken instead of the run's.

    Args:
        words: The verb and its words.

    Returns:
        The words, and the run to go on with, if there is one.

    Raises:
        ConfigError: If the run is not known or cannot be resumed.
        TrackingError: If it has to be fetched from a server that does not answer.
    """
    rest, word = _taken_out(words)
    if word is None:
        return rest, None
    if rest[0] != "fit":
        raise ConfigError(f"--resume goes on with a fit; `plt-nn {rest[0]}` takes --ckpt_path.")
    config = _value(rest, "--config")
    store = store_at(_store_of(config))
    run = find_resumable(store, word, Path(config).stem if config else None) or _fetched(store, word)
    _require_at_rest(store, run)
    chosen = [] if config else ["--config", str(require_whole_config(run.config))]
    if _value(rest, "--ckpt_path") is None:
        chosen += ["--ckpt_path", str(last_checkpoint(run, _scheduler_folders(config or str(run.config))))]
    return [rest[0], *chosen[:2], *rest[1:], *chosen[2:]] if not config else [*rest, *chosen], run


def _require_at_rest(store: Store, run: Resumable) -> None:
    is_first = getattr(rank_zero_only, "rank", 0) == 0  # the others come as the first may have begun
    if is_first and SpoolFolder(store.spool / run.uid).writer_is_alive():
        raise ConfigError(f"--resume: the run {run.uid} is still training in another process; end that one first.")


def _fetched(store: Store, word: str) -> Resumable:
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    run = fetch_run(uri, store, word) if is_server(uri) and word != LAST else None
    if run is None:
        raise unknown_run(store, word)
    return run


def _taken_out(words: Sequence[str]) -> tuple[list[str], str | None]:
    rest: list[str] = []
    word: str | None = None
    following = iter(words)
    for each in following:
        if each == _OPTION:
            word = next(following, None)
            if word is None or word.startswith("-"):
                raise ConfigError("--resume takes the uid of a run, MLflow's id of it, or `last`.")
        elif each.startswith(f"{_OPTION}="):
            word = each.partition("=")[2]
        else:
            rest.append(each)
    return rest, word


def _value(words: Sequence[str], option: str) -> str | None:
    given = [after for word, after in pairwise(words) if word == option]
    given += [word.partition("=")[2] for word in words if word.startswith(f"{option}=")]
    return given[0] if given else None


def _store_of(config: str | None) -> str:
    """The store that the configuration's logger names."""
    logger = (_trainer(config).get("logger") or {}) if config else {}
    arguments = logger.get("init_args") or {} if isinstance(logger, dict) else {}
    return str(arguments.get("store", "mlruns"))


def _scheduler_folders(config: str) -> list[Path]:
    """Where Lightning puts the checkpoint that it makes when a scheduler ends a job."""
    return [Path(_trainer(config).get("default_root_dir") or ".")]


def _trainer(config: str) -> dict[str, Any]:
    try:
        loaded = yaml.safe_load(Path(config).read_text())
    except (OSError, yaml.YAMLError, UnicodeDecodeError):
        return {}  # told with all other faults of the configuration
    trainer = loaded.get("trainer") if isinstance(loaded, dict) else None
    return trainer if isinstance(trainer, dict) else {}
