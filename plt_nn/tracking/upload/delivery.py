"""Applies the events of a spool to a run in MLflow, in their order."""

import math
import re
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import Any

from plt_nn.tracking import tags
from plt_nn.tracking.read.runs import VANISHED
from plt_nn.tracking.spool.events import (
    VERSION,
    Artifact,
    Begin,
    BestLogged,
    End,
    Event,
    LostRows,
    Metrics,
    Params,
    RemovedArtifact,
    Tags,
    UnknownEvent,
    UsedDataset,
)
from plt_nn.tracking.spool.folder import UID_PATTERN, SpoolFolder
from plt_nn.tracking.spool.reader import Read, first_event
from plt_nn.tracking.store import Store
from plt_nn.tracking.upload.dead_letters import DeadLetters
from plt_nn.tracking.upload.files import FileDelivery
from plt_nn.tracking.upload.mlflow_names import mlflow_value
from plt_nn.tracking.upload.model import deliver_model
from plt_nn.tracking.upload.remote import MetricRow, NotReady, RemoteRun
from plt_nn.tracking.upload.retry_rule import is_about_one_file, is_refused
from plt_nn.tracking.upload.state import UploadState
from plt_nn.tracking.upload.texts import TextDelivery

ROWS_AT_ONCE = 1000  # MLflow's limit for a batch


class Delivery:
    """Delivers the events of a spool. What raises can be tried again: nothing is done twice, and nothing left out.

    The state says how far delivery has come; it is updated in memory, and saved with each file.
    """

    def __init__(self, folder: SpoolFolder, state: UploadState) -> None:
        self.folder, self.state = folder, state
        begin = first_event(folder.events)
        if not isinstance(begin, Begin):
            raise NotReady(f"{folder.events} does not begin with a run.")
        self.node = begin.node
        self._dead_letters = DeadLetters(folder.quarantine, state, self._is_refused)
        self._rows: list[MetricRow] = []
        self._known_steps: dict[str, set[int]] | None = None  # of a run that was resumed; None: no row can be repeated
        self._resumed_before: dict[int, int] = {}  # resumes when a `Begin` first came, by its time: it may come again
        self._handlers: dict[type[Event], Callable[[Any], None]] = {
            Begin: self._start,
            Metrics: self._add_metrics,
            Params: lambda event: self._texts.send_params(event.params),
            Tags: lambda event: self._texts.send_tags(event.tags),
            Artifact: self.state.add_file,
            RemovedArtifact: self.state.add_file,
            UsedDataset: self._log_dataset,
            BestLogged: self._set_model,
            LostRows: self._add_lost,
            End: self._end,
            UnknownEvent: self._set_aside,
        }
        self._connect(replace(begin, uri=state.uri) if state.run_id else begin)

    def apply(self, batch: list[Read]) -> None:
        """Delivers some events; if that fails, the state is what it was before."""
        before = deepcopy(vars(self.state))
        self._rows = []
        try:
            for read in batch:
                self._apply(read.event)
            self._flush()
        except BaseException:
            vars(self.state).update(before)
            self._dead_letters.forget()
            raise
        self.state.offset = batch[-1].end
        self._dead_letters.write()

    def deliver_files(self) -> None:
        """Delivers the files that wait, and, if the run has ended, its model; saves the state after each.

        A file that the server does not accept, such as one that is too large for it, waits without holding up others.
        """
        files = FileDelivery(self.folder, self.state, self._remote)
        refused: Exception | None = None
        passed = 0
        while passed < len(self.state.files):
            event = self.state.files[passed]
            try:
                self._dead_letters.send(partial(files.deliver, event), event)
            except Exception as error:
                if not is_about_one_file(error):
                    raise
                refused, passed = error, passed + 1
                continue
            self.state.files.pop(passed)
            self.state.save(self.folder.state)
            self._dead_letters.write()
        if self.state.status is not None and self.node == 0:
            deliver_model(self.folder, self.state, self._remote, self._texts.name)
            self.state.save(self.folder.state)
        if refused is not None:
            raise refused

    @property
    def has_files(self) -> bool:
        """Whether there are files to deliver, or a model."""
        return bool(self.state.files) or (self.state.model is not None and self.state.status is not None)

    def end_vanished(self, time: int) -> None:
        """Marks the run KILLED, because its training process is gone without having logged its end."""
        self._end(End("KILLED", VANISHED, time))

    # -- one handler for each event -----------------------------------------------------------------------------------

    def _apply(self, event: Event | None) -> None:
        if event is None:
            self.state.torn += 1
            return
        if not isinstance(event, Metrics):
            self._flush()
        self.state.ended = isinstance(event, End)
        self._handlers[type(event)](event)

    def _start(self, event: Begin) -> None:
        if event.version > VERSION:
            raise NotReady(f"The spool has version {event.version}; this plt_nn reads {VERSION}. Update plt_nn.")
        self.state.status = None
        is_first = event.attempt == 1
        if not is_first or event.resumed:
            self._connect(event)
            self._continue()
        if event.resumed:
            known = int(self._remote.run.data.tags.get(tags.RESUMES, 0)) if is_first else self.state.resumes
            self.state.resumes = self._resumed_before.setdefault(event.time, known) + 1
            self._known_steps = {}
            if self.node == 0:
                self._texts.send_tags({**event.tags, tags.RESUMES: str(self.state.resumes)})
                self._rename_failure()
        elif is_first:
            self._known_steps = None
        self.state.repeats = self._known_steps is not None
        self._set_parent(event.parent)

    def _add_metrics(self, event: Metrics) -> None:
        if self.state.status is not None and self.node == 0 and not all(map(_is_of_system, event.metrics)):
            self._continue()
        self._add_rows(event.metrics, event.step, event.time)

    def _log_dataset(self, event: UsedDataset) -> None:
        self._dead_letters.send(lambda: self._remote.log_dataset(event), event)

    def _set_model(self, event: BestLogged) -> None:
        self.state.model = event
        self._add_rows({f"{tags.BEST}{name}": value for name, value in event.metrics.items()}, event.step, event.time)

    def _add_lost(self, event: LostRows) -> None:
        self.state.lost += event.rows
        self._texts.send_tags({tags.LOST_ROWS: f"{self.state.lost}: {event.reason}"})

    def _end(self, event: End) -> None:
        self.state.status = event.status
        if event.status is None or self.node > 0:  # only the first machine's spool speaks for the run
            self.state.status = event.status or "FINISHED"
            return
        self._set_parent(self._begin.parent)
        if event.reason:
            self._texts.send_tags({tags.FAILURE: event.reason})
        self._remote.set_status(event.status, event.time)

    def _set_aside(self, event: UnknownEvent) -> None:
        self._dead_letters.add(event, f"this version of plt_nn knows no such event: {event.values['kind']!r}")

    # -- the run ------------------------------------------------------------------------------------------------------

    def _connect(self, begin: Begin) -> None:
        self._remote, self._begin = RemoteRun(begin, Store(self.folder.store)), begin
        self.state.run_id, self.state.experiment_id = self._remote.id, self._remote.run.info.experiment_id
        self.state.uri = begin.uri
        self._texts = TextDelivery(self.folder, self.state, self._remote, self._dead_letters)
        self._known_steps = {} if self.state.repeats else None

    def _continue(self) -> None:
        self.state.status = None
        if self.node == 0:
            self._remote.set_status("RUNNING")

    def _rename_failure(self) -> None:
        """Moves the reason why the run ended before to a tag of its own, for the run continues."""
        reason = self._remote.run.data.tags.get(tags.FAILURE)
        if reason is not None:
            self._texts.send_tags({f"{tags.FAILURE}/{self.state.resumes}": reason})
            self._remote.remove_tag(tags.FAILURE)

    def _set_parent(self, parent: str | None) -> None:
        if parent is None or tags.PARENT_RUN in self._remote.run.data.tags:
            return
        found = {tags.PARENT_UID: parent}
        run_id = self._remote.find_run_id(parent)
        if run_id or not re.fullmatch(UID_PATTERN, parent):
            found[tags.PARENT_RUN] = run_id or parent
        self._texts.send_tags(found)

    def _is_refused(self, error: Exception) -> bool:
        """Whether another try is of no use.

        Raises:
            NotReady: If the reason is that the run was deleted.
        """
        refused = is_refused(error, self._remote.is_http)
        if refused:
            self._remote.now()
        return refused

    # -- rows of metrics ----------------------------------------------------------------------------------------------

    def _add_rows(self, metrics: Mapping[str, float], step: int, time: int) -> None:
        for name, value in metrics.items():
            key = self._texts.name(name)
            if self._is_repeated(key, step):
                self.state.repeated += 1
                continue
            if math.isinf(value) and key not in self.state.not_finite:
                self.state.not_finite.append(key)
                self._texts.send_tags({f"{tags.NOT_FINITE}{key}": f"{value} first at step {step}; shown as NaN"})
            self._rows.append(MetricRow(key, mlflow_value(value), time, step))
            if len(self._rows) >= ROWS_AT_ONCE:
                self._flush()

    def _is_repeated(self, key: str, step: int) -> bool:
        """Whether the run had a row of this step before it was resumed from a checkpoint of an earlier step."""
        if self._known_steps is None or _is_of_system(key):
            return False
        if key not in self._known_steps:
            self._known_steps[key] = self._remote.steps_from(key, step)
        return step in self._known_steps[key]

    def _flush(self) -> None:
        rows, self._rows = self._rows, []
        self._dead_letters.send_together(
            rows, self._remote.log, lambda row: Metrics(row.step, {row.key: row.value}, row.time)
        )
        self.state.rows += len(rows)


def _is_of_system(key: str) -> bool:
    return key.startswith(tags.SYSTEM)
