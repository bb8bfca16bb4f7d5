"""Applies the events of a spool to a run in MLflow, in their order."""

import math
from collections.abc import Mapping
from copy import deepcopy
from functools import partial
from typing import Any

from plt_nn.tracking import tags
from plt_nn.tracking.read.runs import VANISHED
from plt_nn.tracking.spool.events import VERSION, Event
from plt_nn.tracking.spool.folder import SpoolFolder
from plt_nn.tracking.spool.reader import Read, read_events
from plt_nn.tracking.store import Store
from plt_nn.tracking.upload.dead_letters import DeadLetters
from plt_nn.tracking.upload.files import FileDelivery
from plt_nn.tracking.upload.mlflow_names import mlflow_value
from plt_nn.tracking.upload.remote import MetricRow, NotReady, Remote
from plt_nn.tracking.upload.retries import is_about_one_file, is_refused
from plt_nn.tracking.upload.state import UploadState
from plt_nn.tracking.upload.texts import TextDelivery

ROWS_AT_ONCE = 1000  # MLflow's limit for a batch


class Delivery:
    """Delivers the events of a spool. What raises can be tried again: nothing is done twice, and nothing left out.

    Args:
        folder: The spool.
        state: How far delivery has come; it is kept up to date in memory, and saved by `save`.
    """

    def __init__(self, folder: SpoolFolder, state: UploadState) -> None:
        self.folder, self.state = folder, state
        begin = _beginning(folder)
        self.node = int(begin["node"])
        self._begin = begin | ({"uri": state.uri} if state.run_id else {})
        self._refusals = DeadLetters(folder.quarantine, state, self._is_refused)
        self._rows: list[tuple[MetricRow, Event]] = []
        self._known_steps: dict[str, set[int]] | None = None  # of a run that was resumed; None: no row can be repeated
        self._resumed_before: dict[int, int] = {}  # how often, when a machine first heard of the run; a try may repeat
        self._connect(self._begin)

    def save(self) -> None:
        """Saves the state."""
        self.state.save(self.folder.state)

    def apply(self, batch: list[Read]) -> None:
        """Delivers some events; the state is as it was if that fails."""
        before = deepcopy(self.state)
        self._rows = []
        try:
            for read in batch:
                self._apply(read)
            self._flush()
        except BaseException:
            vars(self.state).update(vars(before))
            self._refusals.forget()
            raise
        self.state.offset = batch[-1].end
        self._refusals.write()

    def deliver_files(self) -> None:
        """Delivers the files that wait, and, if the run has ended, its model; saves the state after each.

        A file that the server does not want, such as one that is too large for it, waits without holding up the others.
        """
        files = FileDelivery(self.folder, self.state, self._remote, self._run, self._texts.name)
        unwanted: Exception | None = None
        passed = 0
        while passed < len(self.state.files):
            event = self.state.files[passed]
            try:
                self._refusals.send(partial(files.deliver, event), event)
            except Exception as error:
                if not is_about_one_file(error):
                    raise
                unwanted, passed = error, passed + 1
                continue
            self.state.files.pop(passed)
            self.save()
            self._refusals.write()
        if self.state.status is not None and self.node == 0:
            files.deliver_model()
            self.save()
        if unwanted is not None:
            raise unwanted

    @property
    def waits_for_files(self) -> bool:
        """Whether there are files to deliver, or a model."""
        model_is_due = self.state.model is not None and self.state.status is not None
        return bool(self.state.files) or model_is_due

    def end_vanished(self, time: int) -> None:
        """Marks the run KILLED, because its training process is gone without having said that it ended."""
        self._end({"status": "KILLED", "reason": VANISHED, "time": time})

    # -- events -------------------------------------------------------------------------------------------------------

    def _apply(self, read: Read) -> None:
        event = read.event
        if event is None:
            self.state.torn += 1
            return
        kind = event["kind"]
        if kind == "metrics":
            if self.state.status is not None and self.node == 0 and not all(map(_is_of_system, event["metrics"])):
                self._go_on()
            self._add_rows(event["metrics"], event)
            self.state.ended = False
            return
        self._flush()
        self.state.ended = kind == "end"
        if kind == "begin":
            self._start(event)
        elif kind == "params":
            self._texts.send_params(event["params"], event)
        elif kind == "tags":
            self._texts.send_tags(event["tags"], event)
        elif kind in ("artifact", "remove"):
            self.state.add_file(event)
        elif kind == "dataset":
            self._refusals.send(lambda: self._remote.log_dataset(self._run_id, event), event)
        elif kind == "model":
            self.state.model = event
            self._add_rows({f"{tags.BEST}{name}": value for name, value in event["metrics"].items()}, event)
        elif kind == "lost":
            self.state.lost += event["rows"]
            self._texts.send_tags({tags.LOST_ROWS: f"{self.state.lost}: {event['reason']}"}, event)
        elif kind == "end":
            self._end(event)
        else:
            self._refusals.add(event, f"this version of plt_nn knows no event {kind!r}")

    def _start(self, event: Event) -> None:
        if event["version"] > VERSION:
            raise NotReady(f"The spool has version {event['version']}; this plt_nn reads {VERSION}. Update plt_nn.")
        self.state.status = None
        is_first = event["attempt"] == 1
        if not is_first or event["resumed"]:
            self._connect(event)
            self._go_on()
        if event["resumed"]:
            told = int(self._run.data.tags.get(tags.RESUMES, 0)) if is_first else self.state.resumes
            self.state.resumes = self._resumed_before.setdefault(event["time"], told) + 1
            self._known_steps = {}
            if self.node == 0:
                self._texts.send_tags({**event["tags"], tags.RESUMES: str(self.state.resumes)}, event)
                self._move_failure()
        elif is_first:
            self._known_steps = None
        self.state.repeats = self._known_steps is not None
        self._set_parent(event["parent"])

    def _move_failure(self) -> None:
        """Keeps why the run had ended before under a name of its own: it goes on now."""
        reason = self._run.data.tags.get(tags.FAILURE)
        if reason is not None:
            self._texts.send_tags({f"{tags.FAILURE}/{self.state.resumes}": reason}, self._begin)
            self._remote.remove_tag(self._run_id, tags.FAILURE)

    def _go_on(self) -> None:
        self.state.status = None
        if self.node == 0:
            self._remote.set_status(self._run_id, "RUNNING")

    def _end(self, event: Mapping[str, Any]) -> None:
        self.state.status = event["status"]
        if event["status"] is None or self.node > 0:  # only the first machine's spool speaks for the run
            self.state.status = self.state.status or "FINISHED"
            return
        self._set_parent(self._begin["parent"])
        if event["reason"]:
            self._texts.send_tags({tags.FAILURE: event["reason"]}, dict(event))
        self._remote.set_status(self._run_id, event["status"], event["time"])

    def _connect(self, begin: Event) -> None:
        self._remote = Remote(begin["uri"], Store(self.folder.store), self.folder.uid)
        self._run = self._remote.open_run(begin)
        self._begin = begin
        self._run_id = self._run.info.run_id
        self.state.run_id, self.state.experiment_id = self._run_id, self._run.info.experiment_id
        self.state.uri = begin["uri"]
        self._texts = TextDelivery(self.folder, self.state, self._remote, self._run, self._refusals)
        self._known_steps = {} if self.state.repeats else None

    def _set_parent(self, parent: str | None) -> None:
        if parent is None or tags.PARENT_RUN in self._run.data.tags:
            return
        run_id = self._remote.find_run_id(parent)
        told = {tags.PARENT_UID: parent}
        if run_id or not _is_uid(parent):
            told[tags.PARENT_RUN] = run_id or parent
        self._texts.send_tags(told, self._begin)

    # -- metrics ------------------------------------------------------------------------------------------------------

    def _add_rows(self, metrics: Mapping[str, Any], event: Event) -> None:
        for name, value in metrics.items():
            key = self._texts.name(name)
            if self._is_repeated(key, event["step"]):
                self.state.repeated += 1
                continue
            if math.isinf(value) and key not in self.state.not_finite:
                self.state.not_finite.append(key)
                self._texts.send_tags(
                    {f"{tags.NOT_FINITE}{key}": f"{value} first at step {event['step']}; shown as NaN"}, event
                )
            self._rows.append((MetricRow(key, mlflow_value(value), event["time"], event["step"]), event))
            if len(self._rows) >= ROWS_AT_ONCE:
                self._flush()

    def _is_repeated(self, key: str, step: int) -> bool:
        """Whether the run had a row of this step before it was resumed from a checkpoint of an earlier step."""
        if self._known_steps is None or _is_of_system(key):
            return False
        if key not in self._known_steps:
            self._known_steps[key] = self._remote.steps_from(self._run, key, step)
        return step in self._known_steps[key]

    def _flush(self) -> None:
        rows, self._rows = self._rows, []
        self._refusals.send_together(
            rows,
            lambda some: self._remote.log(self._run_id, [row for row, _ in some]),
            lambda one: {**one[1], "metrics": {one[0].key: one[0].value}},
        )
        self.state.rows += len(rows)

    def _is_refused(self, error: Exception) -> bool:
        """Whether another try is of no use.

        Raises:
            NotReady: If the reason is that the run was deleted.
        """
        refused = is_refused(error, self._remote.is_http)
        if refused:
            self._remote.run(self._run_id)
        return refused


def _beginning(folder: SpoolFolder) -> Event:
    first = next((read.event for read in read_events(folder.events) if read.event is not None), None)
    if first is None or first["kind"] != "begin":
        raise NotReady(f"{folder.events} does not begin with a run.")
    return first


def _is_of_system(key: str) -> bool:
    return key.startswith(tags.SYSTEM)


def _is_uid(text: str) -> bool:
    return len(text) == 24 and text[8] == text[15] == "-"
