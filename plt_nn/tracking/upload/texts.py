"""Delivers the names, parameters and tags of a run, in a form that MLflow accepts."""

import hashlib
from collections.abc import Mapping

from plt_nn.tracking.spool.events import Artifact, Params, Tags
from plt_nn.tracking.spool.folder import SpoolFolder
from plt_nn.tracking.tags import CHANGED, RENAMED
from plt_nn.tracking.upload.dead_letters import DeadLetters
from plt_nn.tracking.upload.mlflow_names import LONGEST_KEY, LONGEST_PARAM, LONGEST_TAG, mlflow_name, shortened
from plt_nn.tracking.upload.remote import RemoteRun
from plt_nn.tracking.upload.state import UploadState

_LONGEST_FILE_NAME = 200  # bytes


class TextDelivery:
    """Delivers parameters and tags, and updates the state, which says how far delivery has come."""

    def __init__(self, folder: SpoolFolder, state: UploadState, remote: RemoteRun, dead_letters: DeadLetters) -> None:
        self._folder, self._state, self._remote, self._dead_letters = folder, state, remote, dead_letters
        self._params = dict(remote.run.data.params)

    def name(self, name: str) -> str:
        """The name under which MLflow accepts something; if that is another one, a tag holds the original."""
        known = self._state.names.get(name)
        if known is None:
            known = mlflow_name(name, self._state.names)
            if known != name:
                tag = f"{RENAMED}{known if len(known) < LONGEST_KEY - len(RENAMED) else _file_name(known)}"
                self._log_tags({tag: shortened(name, LONGEST_TAG)})
        return known

    def send_params(self, params: Mapping[str, str]) -> None:
        """Sends new parameters; changed ones become tags, for MLflow's parameters never change."""
        new: dict[str, str] = {}
        changed: dict[str, str] = {}
        for key, value in self._accepted("params", params, LONGEST_PARAM).items():
            if self._params.get(key, value) != value:
                changed[f"{CHANGED}{key}"] = value
            elif key not in self._params:
                new[key] = value
        self._dead_letters.send_together(
            list(new.items()), lambda some: self._remote.log(params=dict(some)), lambda one: Params(dict([one]))
        )
        self._params |= new
        self.send_tags(changed)

    def send_tags(self, tags: Mapping[str, str]) -> None:
        """Sends tags."""
        self._log_tags(self._accepted("tags", tags, LONGEST_TAG))

    def _log_tags(self, tags: Mapping[str, str]) -> None:
        self._dead_letters.send_together(
            list(tags.items()), lambda some: self._remote.log(tags=dict(some)), lambda one: Tags(dict([one]))
        )

    def _accepted(self, kind: str, texts: Mapping[str, str], most: int) -> dict[str, str]:
        """Texts under names that MLflow accepts; what is too long is saved in full as an artifact too."""
        accepted: dict[str, str] = {}
        for name, text in texts.items():
            key = self.name(name)
            accepted[key] = shortened(str(text), most)
            if accepted[key] != str(text):
                self._add_artifact(kind, key, str(text))
        return accepted

    def _add_artifact(self, kind: str, key: str, text: str) -> None:
        name = _file_name(key)
        file = self._folder.files / kind / name / f"{name}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8", "replace")
        self._state.add_file(Artifact(str(file.relative_to(self._folder.root)), f"{kind}/{name}.txt"))


def _file_name(key: str) -> str:
    """A key as the name of a file; where characters are lost, a digest keeps names distinct."""
    name = key.replace("/", ".").encode()[:_LONGEST_FILE_NAME].decode(errors="ignore")
    return name if name == key else f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"
