"""How far the delivery of a spool has come, saved whole after each step."""

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from plt_nn.files import atomic_write

VERSION = 1


@dataclass
class UploadState:
    """What must be remembered so that delivery can go on after any interruption.

    Were it lost, delivery would begin again at the spool's first byte and end with the same run: MLflow drops rows that
    it already has, and the run and its model are found by their tags.

    Args:
        offset: Bytes of events that are delivered.
        run_id: MLflow's id of the run, once it is known.
        experiment_id: MLflow's id of its experiment.
        uri: Where it is delivered to, without passwords.
        ended: Whether the last event delivered says that the run has ended.
        status: How the run has ended, if it has.
        resumes: How many times the run was resumed.
        repeats: Whether the run was resumed, so that rows may come that it has already.
        rows: Rows of metrics delivered.
        repeated: Rows left out because the run had rows of that step before it was resumed.
        lost: Rows that the training process could not write.
        torn: Lines that were torn.
        refused: Events that MLflow refuses, kept in `quarantine.jsonl`.
        missing: Files that were gone before they could be delivered.
        names: The legal names of metrics, parameters and tags that MLflow would not take as they are.
        not_finite: Metrics that were infinite, of which the run's tags tell.
        artifacts: The digest of each artifact that is delivered.
        aliases: Artifacts whose bytes are those of another one, and the file that waits in case that one is removed.
        files: Events about files that are not delivered yet, in their order.
        model: The event that names the best weights; they are delivered when the run ends.
        model_digest: The digest of the model that is delivered.
        error: Why delivery waits, in a sentence.
        finished_at: When everything was delivered and the run had ended; seconds since 1970.
    """

    offset: int = 0
    run_id: str | None = None
    experiment_id: str | None = None
    uri: str | None = None
    ended: bool = False
    status: str | None = None
    resumes: int = 0
    repeats: bool = False
    rows: int = 0
    repeated: int = 0
    lost: int = 0
    torn: int = 0
    refused: int = 0
    missing: list[str] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    not_finite: list[str] = field(default_factory=list)
    artifacts: dict[str, str] = field(default_factory=dict)
    aliases: dict[str, list[str]] = field(default_factory=dict)
    files: list[dict[str, Any]] = field(default_factory=list)
    model: dict[str, Any] | None = None
    model_digest: str | None = None
    error: str | None = None
    finished_at: float | None = None
    version: int = VERSION

    def save(self, path: Path) -> None:
        """Writes it beside `path` and moves it there."""
        with atomic_write(path) as partial:
            partial.write_text(json.dumps(asdict(self)))

    def add_file(self, event: dict[str, Any]) -> None:
        """Notes an event about a file, in place of an earlier one about the same path."""
        self.files = [earlier for earlier in self.files if earlier["path"] != event["path"]] + [event]

    def finish(self) -> None:
        """Notes that everything is delivered."""
        self.error, self.finished_at = None, time.time()


def load_state(path: Path) -> UploadState:
    """The state in a file; a fresh one where there is none, or none that can be read."""
    try:
        values = json.loads(path.read_text())
        return UploadState(**values) if values.get("version") == VERSION else UploadState()
    except (OSError, ValueError, TypeError, AttributeError):
        return UploadState()
