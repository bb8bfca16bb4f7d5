"""Delivers the model of a run: the best weights, and with their model card a model that stands alone."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from mlflow.entities import LoggedModel, LoggedModelStatus
from mlflow.exceptions import MlflowException

from plt_nn.files import link_or_copy
from plt_nn.inference.model_files import CARD
from plt_nn.tracking import tags
from plt_nn.tracking.mlflow_client import data_digests
from plt_nn.tracking.spool.events import BestLogged
from plt_nn.tracking.spool.folder import SpoolFolder
from plt_nn.tracking.upload.files import file_digest
from plt_nn.tracking.upload.mlflow_names import mlflow_value
from plt_nn.tracking.upload.remote import MetricRow, RemoteRun
from plt_nn.tracking.upload.state import UploadState


class _Model(NamedTuple):
    """The best weights of a run, in a file that nobody replaces any more."""

    file: Path
    digest: str  # of its content
    metrics: Mapping[str, float]  # what they have reached
    step: int  # at which that was
    card: str | None  # the model card, as JSON; None where the net could not be described


def deliver_model(
    folder: SpoolFolder, state: UploadState, remote: RemoteRun, metric_name: Callable[[str], str]
) -> None:
    """Makes the file of the best weights the run's model, in place of an earlier one; a call can be repeated.

    Args:
        folder: The spool.
        state: How far delivery has come; it is updated.
        remote: The run in MLflow.
        metric_name: Gives the name under which MLflow accepts a metric.
    """
    event = state.model
    if event is None:
        return
    source = folder.store / event.file
    if not source.is_file():
        state.add_missing(event.file)
        state.model = None
        return
    file = folder.files / "model" / source.name  # a second name: `source` may be replaced at any time
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    link_or_copy(source, file)
    digest = file_digest(file)
    if digest != state.model_digest:
        metrics, step = _reached(file, event)
        values = {metric_name(f"{tags.BEST}{name}"): mlflow_value(value) for name, value in metrics.items()}
        rows = [MetricRow(key, value, event.time, step) for key, value in values.items()]
        try:
            _put(remote, _Model(file, digest, metrics, step, _card(source.with_name(CARD))), rows)
        except MlflowException as error:
            if getattr(error, "error_code", None) != "ENDPOINT_NOT_FOUND":
                raise
            remote.put_artifact(file, f"{tags.BEST}{file.name}")  # a server before MLflow 3
    state.model, state.model_digest = None, digest
    shutil.rmtree(file.parent, ignore_errors=True)


def _put(remote: RemoteRun, best: _Model, rows: list[MetricRow]) -> None:
    """Creates or completes the model with these weights, and removes the run's other models."""
    run = remote.now()  # with the data sets that were logged since
    data = data_digests(run)
    model, others = remote.model_of(best.digest, _tags(best, data))
    if model.status != LoggedModelStatus.READY:
        files = _files(remote, model, best, data)
        remote.fill_model(run, model, files, rows, best.step)
        if files != best.file:
            shutil.rmtree(files, ignore_errors=True)
    for older in others:
        remote.remove_model(older)


def _files(remote: RemoteRun, model: LoggedModel, best: _Model, data: Mapping[str, str]) -> Path:
    """The folder of a model that stands alone; the weights alone where there is no card, or none that can be used."""
    if best.card is None:
        return best.file
    from plt_nn.tracking.upload.model_folder import make_model_folder  # its import takes a second

    folder = best.file.with_name("alone")
    uid = remote.run.data.tags[tags.UID]
    facts = {"run": uid, "step": best.step, "reached": dict(best.metrics), "data": dict(data)}
    try:
        make_model_folder(folder, best.file, best.card, model, {"plt_nn": facts})
    except OSError:  # a full disk, which may have space later
        raise
    except Exception as error:  # noqa: BLE001  # the weights are worth more, and another try would end as this one
        reason = f"{type(error).__name__}: {error}"[:1000]
        remote.log(tags={tags.NOT_DEPLOYABLE: reason})
        return best.file
    return folder


def _tags(best: _Model, data: Mapping[str, str]) -> dict[str, str]:
    """The metric by which the model is the best, its value, and the digests of the data."""
    found = {tags.STEP: str(best.step)} | {f"{tags.DATA}.{use}": digest for use, digest in data.items()}
    if best.card is not None:
        card = json.loads(best.card)
        found |= {tags.MONITOR: card["monitor"], tags.MODE: card["mode"]}
        if (value := best.metrics.get(card["monitor"])) is not None:
            found[tags.VALUE] = repr(value)
    return found


def _reached(file: Path, event: BestLogged) -> tuple[Mapping[str, float], int]:
    """The metrics and the step of the weights in a file, as its metadata say; else what was logged of it.

    A process that is killed may have replaced the file without having logged that.
    """
    from safetensors import SafetensorError, safe_open  # needed once in a run

    try:
        with safe_open(file, "np") as weights:
            metadata = weights.metadata() or {}
        metrics = {str(name): float(value) for name, value in json.loads(metadata["metrics"]).items()}
        return metrics, int(metadata["step"])
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError):
        return event.metrics, event.step


def _card(path: Path) -> str | None:
    """The model card in a file; None if there is none."""
    try:
        text = path.read_text("utf-8")
        return text if isinstance(json.loads(text), dict) else None
    except (OSError, ValueError):
        return None
