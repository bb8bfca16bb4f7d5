"""Delivers the names, parameters and tags of a run, in a form that MLflow takes."""

import hashlib
from collections.abc import Mapping

from mlflow.entities import Run

from plt_nn.tracking.spool.events import Event
from plt_nn.tracking.spool.folder import SpoolFolder
from plt_nn.tracking.tags import CHANGED, RENAMED
from plt_nn.tracking.upload.dead_letters import DeadLetters
from plt_nn.tracking.upload.mlflow_names import LONGEST_KEY, LONGEST_PARAM, LONGEST_TAG, mlflow_name, shortened
from plt_nn.tracking.upload.remote import Remote
from plt_nn.tracking.upload.state import UploadState

_LONGEST_FILE_NAME = 200  # bytes


class TextDelivery:
    """Delivers parameters and tags.

    Args:
        folder: The spool.
        state: How far delivery has come; kept up to date.
        remote: Where to.
        run: The run in MLflow.
        refusals: Keeps what MLflow refuses.
    """

    def __init__(
        self, folder: SpoolFolder, state: UploadState, remote: Remote, run: Run, refusals: DeadLetters
    ) -> None:
        self._folder, self._state, self._remote, self._refusals = folder, state, remote, refusals
        self._run_id = run.info.run_id
        self._params = dict(run.data.params)

    def name(self, name: str) -> str:
        """The name under which MLflow takes something; a tag tells what it was, if it was another."""
        known = self._state.names.get(name)
        if known is None:
            known = mlflow_name(name, self._state.names)
            if known != name:
                tag = f"{RENAMED}{known}" if len(known) < LONGEST_KEY - 8 else f"{RENAMED}{_file_name(known)}"
                told = {tag: shortened(name, LONGEST_TAG)}
                self._refusals.send(lambda: self._remote.log(self._run_id, tags=told), {"kind": "tags", "tags": told})
        return known

    def send_params(self, params: Mapping[str, str], event: Event) -> None:
        """Sends new parameters; changed ones become tags, for MLflow's parameters never change."""
        new: dict[str, str] = {}
        changed: dict[str, str] = {}
        for key, value in self._legal("params", params, LONGEST_PARAM).items():
            if self._params.get(key, value) != value:
                changed[f"{CHANGED}{key}"] = value
            elif key not in self._params:
                new[key] = value
        self._refusals.send_together(
            list(new.items()),
            lambda some: self._remote.log(self._run_id, params=dict(some)),
            lambda one: {**event, "params": dict([one])},
        )
        self._params |= new
        self.send_tags(changed, event)

    def send_tags(self, tags: Mapping[str, str], event: Event) -> None:
        """Sends tags."""
        self._refusals.send_together(
            list(self._legal("tags", tags, LONGEST_TAG).items()),
            lambda some: self._remote.log(self._run_id, tags=dict(some)),
            lambda one: {**event, "tags": dict([one])},
        )

    def _legal(self, kind: str, texts: Mapping[str, str], most: int) -> dict[str, str]:
        """Texts with legal names; what is too long for MLflow is kept whole as an artifact too."""
        legal: dict[str, str] = {}
        for name, text in texts.items():
            key = self.name(name)
            legal[key] = shortened(str(text), most)
            if legal[key] != str(text):
                self._keep_whole(kind, key, str(text))
        return legal

    def _keep_whole(self, kind: str, key: str, text: str) -> None:
        name = _file_name(key)
        file = self._folder.files / kind / name / f"{name}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8", "replace")
        relative = str(file.relative_to(self._folder.root))
        self._state.add_file({"kind": "artifact", "file": relative, "path": f"{kind}/{name}.txt"})


def _file_name(key: str) -> str:
    """A key as the name of a file; what cannot be kept of it is told apart by a digest."""
    name = key.replace("/", ".").encode()[:_LONGEST_FILE_NAME].decode(errors="ignore")
    return name if name == key else f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"
