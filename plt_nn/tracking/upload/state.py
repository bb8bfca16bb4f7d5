"""How far the delivery of a spool has come, saved whole after each step."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plt_nn.files import atomic_write
from plt_nn.tracking.spool.events import Artifact, BestLogged, RemovedArtifact, from_plain, to_plain

VERSION = 1


@dataclass
class UploadState:
    """What must be remembered so that delivery can go on after any interruption.

    Were it lost, delivery would begin again at the spool's first byte and end with the same run: MLflow drops rows that
    it already has, and the run and its model are found by their tags.
    """

    offset: int = 0  # bytes of events that are delivered
    run_id: str | None = None  # MLflow's id of the run, once it is known
    experiment_id: str | None = None  # MLflow's id of its experiment
    uri: str | None = None  # where it is delivered to, without passwords
    ended: bool = False  # whether the last event delivered is an `End`
    status: str | None = None  # how the run has ended, if it has
    resumes: int = 0  # how many times the run was resumed
    repeats: bool = False  # whether the run was resumed, so that rows may come that it already has
    rows: int = 0  # rows of metrics delivered
    repeated: int = 0  # rows left out because the run had rows of that step before it was resumed
    lost: int = 0  # rows that the training process could not write
    torn: int = 0  # lines that were torn
    refused: int = 0  # events that MLflow refuses; they are in `quarantine.jsonl`
    missing: list[str] = field(default_factory=list)  # files that were gone before they could be delivered
    names: dict[str, str] = field(default_factory=dict)  # the names that MLflow accepts, by the names given
    not_finite: list[str] = field(default_factory=list)  # metrics that were infinite; a tag of the run says so
    artifacts: dict[str, str] = field(default_factory=dict)  # the digest of each artifact that is delivered
    # Artifacts whose bytes are those of another one, and the file that waits in case that one is removed.
    aliases: dict[str, list[str]] = field(default_factory=dict)
    files: list[Artifact | RemovedArtifact] = field(default_factory=list)  # to deliver or to remove, in their order
    model: BestLogged | None = None  # delivered when the run ends
    model_digest: str | None = None  # the digest of the model that is delivered
    error: str | None = None  # why delivery waits, in a sentence
    finished_at: float | None = None  # when everything was delivered and the run had ended; seconds since 1970
    version: int = VERSION

    def save(self, path: Path) -> None:
        """Writes it to a file, whole or not at all."""
        events = {"files": [to_plain(event) for event in self.files], "model": self.model and to_plain(self.model)}
        with atomic_write(path) as partial:
            partial.write_text(json.dumps(vars(self) | events))

    def add_file(self, event: Artifact | RemovedArtifact) -> None:
        """Adds a file to deliver or to remove, in place of an earlier one for the same path."""
        self.files = [earlier for earlier in self.files if earlier.path != event.path] + [event]

    def add_missing(self, path: str) -> None:
        """Notes a file that was gone before it could be delivered."""
        if path not in self.missing:
            self.missing.append(path)


def load_state(path: Path) -> UploadState:
    """The state in a file; a fresh one where there is none, or none that can be read."""
    try:
        values: dict[str, Any] = json.loads(path.read_text())
        if values.get("version") != VERSION:
            return UploadState()
        events = {"files": [from_plain(each) for each in values["files"]], "model": from_plain(values["model"])}
        return UploadState(**values | events)
    except (OSError, ValueError, TypeError, AttributeError, KeyError):
        return UploadState()
