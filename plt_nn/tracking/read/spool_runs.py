"""Runs as their spools on disk hold them: complete, whether or not MLflow has them, and who is working on them."""

import math
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from plt_nn.tracking.read.runs import VANISHED, Histories, History, RunRecord, history_of
from plt_nn.tracking.spool.events import Begin, BestLogged, End, Event, Metrics, Params, Tags, UsedDataset
from plt_nn.tracking.spool.folder import SpoolFolder, spool_folders
from plt_nn.tracking.spool.reader import read_events
from plt_nn.tracking.tags import BEST, FAILURE, HOST, RUN_NAME, SYSTEM, UID
from plt_nn.tracking.upload.backlog import Backlog, backlog_of
from plt_nn.tracking.upload.state import load_state


@dataclass(frozen=True)
class SpoolRun:
    """A run as its spool holds it."""

    record: RunRecord  # its id is MLflow's if that is known, else the uid
    folder: SpoolFolder
    is_alive: bool  # whether the process that logs is still running
    is_whole: bool  # whether it has the first row, rather than begins where the run was resumed elsewhere
    rows: Mapping[str, History] = field(repr=False)

    @property
    def backlog(self) -> Backlog:
        """What MLflow does not have yet."""
        return backlog_of(self.folder)

    def histories(self, names: Sequence[str] | None = None) -> Histories:
        """All rows of metrics, as `AllRuns` gives them."""
        return {self.record.id: {name: self.rows[name] for name in self.record.metrics(names)}}


def spool_run(folder: SpoolFolder) -> SpoolRun | None:
    """The run of a spool; None for a spool without a beginning."""
    replayed = _Replayed()
    for read in read_events(folder.events):
        replayed.add(read.event)
    if replayed.begin is None:
        return None
    is_alive, state = folder.writer_is_alive(), load_state(folder.state)
    rows = {name: history_of(rows) for name, rows in replayed.rows.items()}
    record = replayed.record(replayed.begin, state.run_id or folder.uid, rows)
    if not is_alive and replayed.end is None:  # the same as the uploader's `end_vanished`
        ended = int(folder.events.stat().st_mtime * 1000)
        record = replace(record, ended=ended, tags={**record.tags, FAILURE: VANISHED}, status="KILLED")
    return SpoolRun(record, folder, is_alive, not replayed.begin.resumed, rows)


def spool_runs(store: Path) -> list[SpoolRun]:
    """The runs of a store's spools; those of further machines are left out, which do not speak for their run."""
    folders = [folder for folder in spool_folders(store) if "." not in folder.root.name]
    return [run for run in map(spool_run, folders) if run is not None]


class _Replayed:
    """What the events of a spool add up to."""

    def __init__(self) -> None:
        self.begin: Begin | None = None
        self.end: End | None = None
        self.rows: dict[str, array[float]] = {}
        self._host = ""
        self._params: dict[str, str] = {}
        self._tags: dict[str, str] = {}
        self._data: dict[str, str] = {}
        self._known: dict[str, set[float]] | None = None  # the steps of earlier attempts, whose rows stay
        self._handlers: dict[type[Event], Callable[[Any], None]] = {
            Begin: self._begin,
            Metrics: lambda event: self._add_rows("", event),
            Params: lambda event: self._params.update({**event.params, **self._params}),  # the first value stays
            Tags: lambda event: self._tags.update(event.tags),
            UsedDataset: lambda event: self._data.update({event.context: event.digest}),
            BestLogged: lambda event: self._add_rows(BEST, event),
            End: self._end,
        }

    def add(self, event: Event | None) -> None:
        """Adds an event; those about files do not matter here."""
        if event is not None and (handler := self._handlers.get(type(event))) is not None:
            handler(event)

    def record(self, begin: Begin, run_id: str, rows: Mapping[str, History]) -> RunRecord:
        """The run after the events so far."""
        reason = {FAILURE: self.end.reason} if self.end is not None and self.end.reason else {}
        tags = {UID: begin.uid, HOST: self._host, **begin.tags, **self._tags, **reason}
        return RunRecord(
            id=run_id,
            name=begin.run_name or tags.get(RUN_NAME) or begin.uid,
            experiment=begin.experiment,
            status=(self.end and self.end.status) or "RUNNING",
            began=begin.time,
            ended=self.end.time if self.end is not None else None,
            params=self._params,
            tags=tags,
            last={name: history.last for name, history in rows.items()},
            data=self._data,
        )

    def _begin(self, event: Begin) -> None:
        if self.begin is None:
            self.begin = event
        elif event.resumed:
            self._known = {name: set(rows[::3]) for name, rows in self.rows.items()}
        self.end, self._host = None, event.host

    def _end(self, event: End) -> None:
        if event.status is not None:
            self.end = event

    def _add_rows(self, prefix: str, event: Metrics | BestLogged) -> None:
        for name, value in event.metrics.items():
            name = prefix + name
            if self._known is not None and not name.startswith(SYSTEM) and event.step in self._known.get(name, ()):
                continue
            rows = self.rows.setdefault(name, array("d"))
            rows.extend((event.step, value if math.isfinite(value) else math.nan, event.time))
