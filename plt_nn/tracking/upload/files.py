"""Delivers artifacts and the model of a run: each content once."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from plt_nn.files import link_or_copy
from plt_nn.inference.model_files import CARD
from plt_nn.tracking.spool.events import Event
from plt_nn.tracking.spool.folder import SpoolFolder
from plt_nn.tracking.tags import BEST, CHECKPOINTS, SAME_AS
from plt_nn.tracking.upload.mlflow_names import mlflow_path, mlflow_value
from plt_nn.tracking.upload.model import BestModel, put_model
from plt_nn.tracking.upload.remote import MetricRow, Remote
from plt_nn.tracking.upload.state import UploadState


class FileDelivery:
    """Delivers the files that a spool names.

    Args:
        folder: The spool.
        state: How far delivery has come; kept up to date.
        remote: Where to.
        run: The run in MLflow.
        name: Gives the name under which MLflow takes a metric.
    """

    def __init__(
        self, folder: SpoolFolder, state: UploadState, remote: Remote, run: Run, name: Callable[[str], str]
    ) -> None:
        self._folder, self._state, self._remote, self._run, self._name = folder, state, remote, run, name

    def deliver(self, event: Event) -> None:
        """Puts an artifact into the run, or removes one."""
        if event["kind"] == "remove":
            self._remove(mlflow_path(event["path"]))
        else:
            self._put(*self._legal(self._folder.root / event["file"], event["path"]))

    def deliver_model(self) -> None:
        """Makes the file of the best weights the run's model."""
        event = self._state.model
        if event is None:
            return
        source = self._folder.store / event["file"]
        if not source.is_file():
            self._note_missing(event["file"])
            self._state.model = None
            return
        file = self._held(source)
        digest = file_digest(file)
        if digest != self._state.model_digest:
            metrics, step = _reached(file, event)
            values = {self._name(f"{BEST}{name}"): mlflow_value(value) for name, value in metrics.items()}
            rows = [MetricRow(key, value, event["time"], step) for key, value in values.items()]
            card = _card(source.with_name(CARD))
            try:
                put_model(self._remote, self._run, BestModel(file, digest, metrics, rows, step, card))
            except MlflowException as error:
                if getattr(error, "error_code", None) != "ENDPOINT_NOT_FOUND":
                    raise
                self._remote.put_artifact(self._run.info.run_id, file, f"{BEST}{file.name}")  # a server before MLflow 3
        self._state.model, self._state.model_digest = None, digest
        shutil.rmtree(file.parent, ignore_errors=True)

    def _put(self, file: Path, path: str) -> None:
        if not file.is_file():  # replaced by a later one before it was delivered, or taken away by somebody
            if path not in self._state.artifacts and self._remote.has_artifact(self._run.info.run_id, path):
                self._state.artifacts[path] = ""  # the state has been lost since it was delivered
            else:
                self._note_missing(path)
            return
        digest = file_digest(file)
        if path in self._state.missing:
            self._state.missing.remove(path)
        if self._state.artifacts.get(path) != digest:
            twin = self._twin(path, digest)
            if twin is not None:
                self._remote.log(self._run.info.run_id, tags={f"{SAME_AS}{path}": twin})
                self._state.aliases[path] = [twin, str(file.relative_to(self._folder.root))]
                return
            self._remote.put_artifact(self._run.info.run_id, file, path)
            self._state.artifacts[path] = digest
        shutil.rmtree(file.parent, ignore_errors=True)

    def _twin(self, path: str, digest: str) -> str | None:
        """A checkpoint of the same content that is delivered already."""
        if not path.startswith(f"{CHECKPOINTS}/"):
            return None
        known = self._state.artifacts.items()
        return next((other for other, found in known if found == digest and other.startswith(f"{CHECKPOINTS}/")), None)

    def _remove(self, path: str) -> None:
        alias = self._state.aliases.pop(path, None)
        if alias is not None:
            shutil.rmtree((self._folder.root / alias[1]).parent, ignore_errors=True)
        if path in self._state.artifacts:
            self._remote.remove_artifact(self._run, path)
            del self._state.artifacts[path]
        if path in self._state.missing:
            self._state.missing.remove(path)
        for other, (twin, file) in list(self._state.aliases.items()):
            if twin == path:  # what was the same as this has to be delivered now
                del self._state.aliases[other]
                self._state.files.append({"kind": "artifact", "file": file, "path": other})

    def _legal(self, file: Path, path: str) -> tuple[Path, str]:
        """A file with the path and the name that MLflow takes."""
        legal = mlflow_path(path)
        named = file.with_name(legal.rpartition("/")[2])
        if named != file and file.is_file():
            file.replace(named)
        return named, legal

    def _held(self, source: Path) -> Path:
        """A second name for a file that may be replaced at any time."""
        held = self._folder.files / "model" / source.name
        held.parent.mkdir(parents=True, exist_ok=True)
        held.unlink(missing_ok=True)
        link_or_copy(source, held)
        return held

    def _note_missing(self, path: str) -> None:
        if path not in self._state.missing:
            self._state.missing.append(path)


def _reached(file: Path, event: Event) -> tuple[dict[str, float], int]:
    """The metrics and the step of the weights in a file, as it says itself; else what was logged of it.

    A process that is killed may have replaced the file without having come to say so.
    """
    from safetensors import SafetensorError, safe_open  # needed once in a run

    try:
        with safe_open(file, "np") as weights:
            told = weights.metadata() or {}
        return {str(name): float(value) for name, value in json.loads(told["metrics"]).items()}, int(told["step"])
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError):
        return event["metrics"], event["step"]


def _card(path: Path) -> str | None:
    """The model card in a file; None if there is none."""
    try:
        text = path.read_text("utf-8")
        return text if isinstance(json.loads(text), dict) else None
    except (OSError, ValueError):
        return None


def file_digest(path: Path) -> str:
    """The SHA-256 digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
