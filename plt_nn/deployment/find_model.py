"""Finding a model by what people call it."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from plt_nn.errors import ConfigError, did_you_mean
from plt_nn.inference.model_files import CARD, WEIGHTS
from plt_nn.text import first_line
from plt_nn.tracking import tags
from plt_nn.tracking.mlflow_client import asking, is_server, mlflow_client
from plt_nn.tracking.read.find_run import find_run, find_run_on_server, names_of_runs
from plt_nn.tracking.resume import find_resumable
from plt_nn.tracking.spool.folder import SpoolFolder
from plt_nn.tracking.store import Store
from plt_nn.tracking.upload.backlog import backlog_of

BEST_OF = "best-of:"
FORMS = (
    "a run (its uid, MLflow's id, `last`), models:/NAME@ALIAS, models:/NAME/VERSION, models:/ID, best-of:EXPERIMENT, "
    "or a folder"
)


class FoundModel(NamedTuple):
    """A model on this machine: the folder of its files, and its name for a sentence."""

    folder: Path
    name: str


def find_model(word: str, store: Store) -> FoundModel:
    """The model that a word means; it is downloaded if it is on a server.

    Args:
        word: One of `FORMS`.
        store: The store to look in, unless `MLFLOW_TRACKING_URI` names a server.

    Raises:
        ConfigError: If there is no such model, or if it does not stand alone.
        TrackingError: If MLflow does not answer.
    """
    folder = Path(word).expanduser()
    if folder.is_dir():
        places = (folder, folder / tags.CHECKPOINTS)  # in a run's folder the model is among the checkpoints
        return _whole(next((each for each in places if (each / CARD).is_file()), folder), word)
    if word.startswith("models:/"):
        return _whole(_downloaded(word, _location(word.removeprefix("models:/"), store), store), word)
    if word.startswith(BEST_OF):
        model, name = best_model_of(word.removeprefix(BEST_OF), store)
        return _whole(_downloaded(word, model.artifact_location, store), name)
    return _of_run(word, store)


def model_of_run(word: str, store: Store) -> Any:
    """MLflow's entry of the model of a run (its uid, MLflow's id or `last`); None if it has none.

    Raises:
        ConfigError: If there is no such run.
        TrackingError: If MLflow does not answer.
    """
    server, has_runs = os.environ.get("MLFLOW_TRACKING_URI", ""), store.database.is_file()
    if is_server(server):
        found = find_run_on_server(server, word)
    elif has_runs:
        found = find_run(store, word)
    else:
        found = None
    if found is None:
        hint = did_you_mean(word, names_of_runs(store) if has_runs else [])
        raise ConfigError(f"There is no model {word!r} in {store.root}.{hint} Expected {FORMS}.")
    uri, client = client_of(store)
    with asking(uri, "could not look for models"):
        models = client.search_logged_models([found.experiment], f"source_run_id = '{found.run}'")
    return next(iter(models), None)


def best_model_of(experiment: str, store: Store) -> tuple[Any, str]:
    """MLflow's entry of the best model of an experiment, and its name for a sentence.

    Raises:
        ConfigError: If there is none, or if the models are the best of different metrics.
    """
    uri, client = client_of(store)
    found = client.get_experiment_by_name(experiment)
    if found is None:
        names = [each.name for each in client.search_experiments()]
        raise ConfigError(f"There is no experiment {experiment!r} at {uri}.{did_you_mean(experiment, names)}")
    models = [each for each in client.search_logged_models([found.experiment_id]) if tags.VALUE in each.tags]
    monitors = {(each.tags[tags.MONITOR], each.tags[tags.MODE]) for each in models}
    if not models:
        raise ConfigError(f"No run of {experiment!r} has a model that stands alone.")
    if len(monitors) > 1:
        listed = ", ".join(sorted(name for name, _ in monitors))
        raise ConfigError(f"The models of {experiment!r} are the best by different metrics ({listed}): name a run.")
    ((monitor, mode),) = monitors
    sign = 1.0 if mode == "min" else -1.0
    values = [sign * float(each.tags[tags.VALUE]) for each in models]
    best = models[int(np.argsort(values, kind="stable")[0])]  # NaN comes last
    value = float(best.tags[tags.VALUE])
    return best, f"the best of {len(models)} of {experiment} ({monitor} {value:.6g}, run {best.tags.get(tags.UID)})"


def client_of(store: Store) -> tuple[str, Any]:
    """The address of MLflow, and a client of it."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or store.uri
    if uri == store.uri and not store.database.is_file():
        raise ConfigError(f"There are no runs in {store.root}; --store names the folder of the runs.")
    return uri, mlflow_client(uri)


def model_id_of(version: Any) -> str:
    """MLflow's id of the model that a registered version is of; it may stand in the version's source alone."""
    return version.model_id or next((part for part in str(version.source).split("/") if part.startswith("m-")), "")


def _of_run(word: str, store: Store) -> FoundModel:
    """The model of a run: in MLflow, or where it is not delivered yet, among the checkpoints."""
    try:
        local = find_resumable(store, word)
    except ConfigError:  # `last`, and there is none
        local = None
    if local is not None and not _missing(local.folder / tags.CHECKPOINTS):
        return FoundModel(local.folder / tags.CHECKPOINTS, f"run {word}")
    model = model_of_run(word, store)
    if model is None:
        if local is not None and not backlog_of(SpoolFolder(store.spool / local.uid)).is_empty:
            raise ConfigError(
                f"The run {word} has no model in MLflow yet: not all of it is delivered, `plt-nn sync` does that."
            )
        raise ConfigError(f"The run {word} has no model: it was not trained with BestLossStopping, or has no best yet.")
    folder = _downloaded(word, model.artifact_location, store)
    if not (folder / CARD).is_file():
        run = client_of(store)[1].get_run(model.source_run_id)
        if reason := run.data.tags.get(tags.NOT_DEPLOYABLE):
            raise ConfigError(f"The model of run {word} consists of its weights alone ({folder}): {reason}")
    return _whole(folder, f"run {word}")


def _location(name: str, store: Store) -> str:
    """Where the files of `NAME@ALIAS`, `NAME/VERSION` or a model's id lie."""
    address, client = client_of(store)
    from mlflow.exceptions import MlflowException

    model, at, alias = name.partition("@")
    model, slash, version = model.partition("/")
    try:
        if at:
            model = model_id_of(client.get_model_version_by_alias(model, alias))
        elif slash:
            model = model_id_of(client.get_model_version(model, version))
        return str(client.get_logged_model(model).artifact_location)
    except MlflowException as error:
        known = [each.name for each in client.search_registered_models()]
        hint = did_you_mean(model, known) if model not in known else ""
        raise ConfigError(f"There is no models:/{name} at {address}: {first_line(error)}{hint}") from error


def _downloaded(word: str, location: str, store: Store) -> Path:
    address, _ = client_of(store)
    from mlflow.artifacts import download_artifacts

    with asking(address, f"could not give the files of {word} from {location}"):
        return Path(download_artifacts(artifact_uri=location, tracking_uri=address))


def _missing(folder: Path) -> list[str]:
    return [each for each in (CARD, WEIGHTS) if not (folder / each).is_file()]


def _whole(folder: Path, name: str) -> FoundModel:
    if missing := _missing(folder):
        raise ConfigError(
            f"{name} is no model that stands alone: {folder} has no {' and no '.join(missing)}. The tag "
            f"`{tags.NOT_DEPLOYABLE}` of its run may say why."
        )
    return FoundModel(folder, name)
