"""Delivers the artifacts of a run: each content once."""

import hashlib
import shutil
from pathlib import Path

from plt_nn.tracking.spool.events import Artifact, RemovedArtifact
from plt_nn.tracking.spool.folder import SpoolFolder
from plt_nn.tracking.tags import CHECKPOINTS, SAME_AS
from plt_nn.tracking.upload.mlflow_names import mlflow_path
from plt_nn.tracking.upload.remote import RemoteRun
from plt_nn.tracking.upload.state import UploadState


class FileDelivery:
    """Delivers the artifacts that a spool names, and updates the state, which says how far delivery has come."""

    def __init__(self, folder: SpoolFolder, state: UploadState, remote: RemoteRun) -> None:
        self._folder, self._state, self._remote = folder, state, remote

    def deliver(self, event: Artifact | RemovedArtifact) -> None:
        """Puts an artifact into the run, or removes one."""
        path = mlflow_path(event.path)
        if isinstance(event, RemovedArtifact):
            self._remove(path)
        else:
            self._put(_renamed(self._folder.root / event.file, path.rpartition("/")[2]), path)

    def _put(self, file: Path, path: str) -> None:
        if not file.is_file():  # replaced by a later one before it was delivered, or removed by somebody
            if path not in self._state.artifacts and self._remote.has_artifact(path):
                self._state.artifacts[path] = ""  # the state has been lost since it was delivered
            else:
                self._state.add_missing(path)
            return
        digest = file_digest(file)
        self._forget_missing(path)
        if self._state.artifacts.get(path) != digest:
            twin = self._twin(path, digest)
            if twin is not None:
                self._remote.log(tags={f"{SAME_AS}{path}": twin})
                self._state.aliases[path] = [twin, str(file.relative_to(self._folder.root))]
                return
            self._remote.put_artifact(file, path)
            self._state.artifacts[path] = digest
        shutil.rmtree(file.parent, ignore_errors=True)

    def _twin(self, path: str, digest: str) -> str | None:
        """A checkpoint of the same content that is delivered already."""
        known = self._state.artifacts.items() if path.startswith(f"{CHECKPOINTS}/") else ()
        return next((other for other, found in known if found == digest and other.startswith(f"{CHECKPOINTS}/")), None)

    def _remove(self, path: str) -> None:
        alias = self._state.aliases.pop(path, None)
        if alias is not None:
            shutil.rmtree((self._folder.root / alias[1]).parent, ignore_errors=True)
        if path in self._state.artifacts:
            self._remote.remove_artifact(path)
            del self._state.artifacts[path]
        self._forget_missing(path)
        for other, (twin, file) in list(self._state.aliases.items()):
            if twin == path:  # what was the same as this has to be delivered now
                del self._state.aliases[other]
                self._state.files.append(Artifact(file, other))

    def _forget_missing(self, path: str) -> None:
        if path in self._state.missing:
            self._state.missing.remove(path)


def file_digest(path: Path) -> str:
    """The SHA-256 digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _renamed(file: Path, name: str) -> Path:
    """A file under the name that MLflow accepts."""
    named = file.with_name(name)
    return file.replace(named) if named != file and file.is_file() else named
