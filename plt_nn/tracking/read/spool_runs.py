"""Runs as their spools on disk tell them: complete, whether or not MLflow has them, and who is at work on them."""

import math
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from plt_nn.tracking.read.runs import VANISHED, Histories, Point, RunRecord, history_of
from plt_nn.tracking.spool.folder import SpoolFolder, spool_folders
from plt_nn.tracking.spool.reader import read_events
from plt_nn.tracking.tags import BEST, FAILURE, HOST, RUN_NAME, SYSTEM, UID
from plt_nn.tracking.upload.backlog import Backlog, backlog_of
from plt_nn.tracking.upload.state import load_state


@dataclass(frozen=True)
class SpoolRun:
    """What a spool says of a run.

    Args:
        record: The run; its id is MLflow's if that is known, else the uid.
        folder: The spool.
        is_alive: Whether the process that logs is still there.
        is_whole: Whether it holds the run from its first row, rather than from where it was resumed elsewhere.
        rows: The rows of each metric, in their order: step, value, time.
    """

    record: RunRecord
    folder: SpoolFolder
    is_alive: bool
    is_whole: bool
    rows: Mapping[str, "array[float]"] = field(repr=False)

    @property
    def left(self) -> Backlog:
        """What of it MLflow does not have yet."""
        return backlog_of(self.folder)

    def histories(self, names: Sequence[str] | None = None) -> Histories:
        """All rows of metrics, as `RunReader` gives them."""
        wanted = [name for name in (self.rows if names is None else names) if name in self.rows]
        return {self.record.id: {name: history_of(_table(self.rows[name])) for name in wanted}}


def spool_run(folder: SpoolFolder) -> SpoolRun | None:
    """What a spool says of its run; None for one without a beginning.

    Args:
        folder: The spool.
    """
    told = _Told()
    for read in read_events(folder.events):
        if read.event is not None:
            told.add(read.event)
    if told.begin is None:
        return None
    is_alive, state = folder.writer_is_alive(), load_state(folder.state)
    record = told.record(state.run_id or folder.uid)
    if not is_alive and told.end is None:  # as the uploader says it
        record = replace(record, ended=int(folder.events.stat().st_mtime * 1000))
        record = replace(record, tags={**record.tags, FAILURE: VANISHED}, status="KILLED")
    return SpoolRun(record, folder, is_alive, not told.begin["resumed"], told.rows)


def spool_runs(store: Path) -> list[SpoolRun]:
    """The runs of a store's spools; further machines of a run are left out, which do not speak for it."""
    folders = [folder for folder in spool_folders(store) if "." not in folder.root.name]
    return [run for run in map(spool_run, folders) if run is not None]


class _Told:
    """Adds up the events of a spool."""

    def __init__(self) -> None:
        self.begin: dict[str, Any] | None = None
        self.end: dict[str, Any] | None = None
        self.rows: dict[str, array[float]] = {}
        self._host = ""
        self._params: dict[str, str] = {}
        self._tags: dict[str, str] = {}
        self._data: dict[str, str] = {}
        self._known: dict[str, set[float]] | None = None  # the steps of earlier attempts, whose rows stay

    def add(self, event: Mapping[str, Any]) -> None:
        kind = event["kind"]
        if kind == "metrics":
            self._add_rows("", event)
        elif kind == "model":
            self._add_rows(BEST, event)
        elif kind == "begin":
            self._begin(event)
        elif kind == "params":
            new = {name: value for name, value in event["params"].items() if name not in self._params}
            self._params.update(new)
        elif kind == "tags":
            self._tags.update(event["tags"])
        elif kind == "dataset":
            self._data[event["context"]] = event["digest"]
        elif kind == "end" and event["status"] is not None:
            self.end = dict(event)

    def record(self, id_: str) -> RunRecord:
        begin = self.begin or {}
        last = {name: _last(rows) for name, rows in self.rows.items()}
        end = self.end
        reason = {FAILURE: end["reason"]} if end is not None and end["reason"] else {}
        tags = {UID: begin["uid"], HOST: self._host, **begin["tags"], **self._tags, **reason}
        status, ended = (end["status"], end["time"]) if end is not None else ("RUNNING", None)
        name = begin["run_name"] or tags.get(RUN_NAME) or begin["uid"]
        return RunRecord(
            *(id_, name, begin["experiment"], status, begin["time"], ended),
            *(self._params, tags, last, self._data),
        )

    def _begin(self, event: Mapping[str, Any]) -> None:
        if self.begin is None:
            self.begin = dict(event)
        elif event["resumed"]:
            self._known = {name: set(rows[::3]) for name, rows in self.rows.items()}
        self.end, self._host = None, event.get("host", "")

    def _add_rows(self, prefix: str, event: Mapping[str, Any]) -> None:
        step = event["step"]
        for name, value in event["metrics"].items():
            name = prefix + name
            if self._known is not None and not name.startswith(SYSTEM) and step in self._known.get(name, ()):
                continue
            rows = self.rows.setdefault(name, array("d"))
            rows.extend((step, value if math.isfinite(value) else math.nan, event["time"]))


def _last(rows: "array[float]") -> Point:
    step, value, time = max(zip(rows[::3], rows[1::3], rows[2::3], strict=True), key=lambda row: (row[0], row[2]))
    return Point(value, int(step), int(time))


def _table(rows: "array[float]") -> Any:
    import numpy as np

    return np.frombuffer(rows, dtype=np.float64).reshape(-1, 3)
