"""`plt-nn fit --resume RUN|last`: the words of the command line with what resuming means."""

import argparse
import os
from collections.abc import Sequence
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


def without_resume(words: Sequence[str]) -> tuple[list[str], Resumable | None]:
    """The command line of a fit without `--resume`, and with the configuration and the checkpoint in its place.

    A configuration or a checkpoint that the words name themselves are taken instead of the run's.

    Args:
        words: The verb and its words.

    Returns:
        The words, and the run to continue, if there is one.

    Raises:
        ConfigError: If the run is not known or cannot be resumed.
        TrackingError: If it has to be fetched from a server that does not answer.
    """
    values, rest = _options(words, "resume")
    word = values["resume"]
    if word is None:
        return list(words), None
    if not word:
        raise ConfigError("--resume takes the uid of a run, MLflow's id of it, or `last`.")
    if rest[0] != "fit":
        raise ConfigError(f"--resume continues a fit; `plt-nn {rest[0]}` takes --ckpt_path.")
    given, _ = _options(rest, "config", "ckpt_path")
    config = given["config"]
    store = store_at(_store_of(config))
    run = find_resumable(store, word, Path(config).stem if config else None) or _fetched(store, word)
    _require_at_rest(store, run)
    configured = [] if config else ["--config", str(require_whole_config(run.config))]
    checkpoint: list[str] = []
    if given["ckpt_path"] is None:  # a scheduler's checkpoint is where Lightning puts it when a job is ended
        folder = Path(_trainer(config or str(run.config)).get("default_root_dir") or ".")
        checkpoint = ["--ckpt_path", str(last_checkpoint(run, [folder]))]
    return [rest[0], *configured, *rest[1:], *checkpoint], run


def _require_at_rest(store: Store, run: Resumable) -> None:
    is_first = getattr(rank_zero_only, "rank", 0) == 0  # the others get here when the first may have begun
    if is_first and SpoolFolder(store.spool / run.uid).writer_is_alive():
        raise ConfigError(f"--resume: the run {run.uid} is still training in another process; end that one first.")


def _fetched(store: Store, word: str) -> Resumable:
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    run = fetch_run(uri, store, word) if is_server(uri) and word != LAST else None
    if run is None:
        raise unknown_run(store, word)
    return run


def _options(words: Sequence[str], *names: str) -> tuple[dict[str, Any], list[str]]:
    """The values of some options, None if it is not given and empty if it has no value; and the other words."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in names:
        parser.add_argument(f"--{name}", nargs="?", const="")
    values, rest = parser.parse_known_args(words)
    return vars(values), rest


def _store_of(config: str | None) -> str:
    """The store that the configuration's logger names."""
    logger = (_trainer(config).get("logger") or {}) if config else {}
    arguments = logger.get("init_args") or {} if isinstance(logger, dict) else {}
    return str(arguments.get("store", "mlruns"))


def _trainer(config: str) -> dict[str, Any]:
    try:
        loaded = yaml.safe_load(Path(config).read_text())
    except (OSError, yaml.YAMLError, UnicodeDecodeError):
        return {}  # reported with all other faults of the configuration
    trainer = loaded.get("trainer") if isinstance(loaded, dict) else None
    return trainer if isinstance(trainer, dict) else {}
