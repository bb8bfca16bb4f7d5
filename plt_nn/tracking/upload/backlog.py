"""What of a spool is not delivered yet, and waiting for it."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from plt_nn.tracking.spool.folder import SpoolFolder
from plt_nn.tracking.spool.reader import read_events
from plt_nn.tracking.upload.state import load_state

_POLL = 0.05  # seconds
_QUIET = 1.5  # seconds before the wait is shown


@dataclass(frozen=True)
class Backlog:
    """What is not delivered yet."""

    size: int  # bytes of events
    files: int
    reason: str | None  # why delivery waits, if that is known
    refused: int  # events that MLflow has refused
    missing: tuple[str, ...]  # files that were gone before they could be delivered

    @property
    def is_empty(self) -> bool:
        """Whether everything is delivered that can be."""
        return self.size <= 0 and self.files == 0


def backlog_of(folder: SpoolFolder) -> Backlog:
    """What of a spool is not delivered yet."""
    state = load_state(folder.state)
    files = len(state.files) + (state.model is not None)
    has_events = next(read_events(folder.events, state.offset), None) is not None  # rather than a line that was torn
    size = folder.size() - state.offset if has_events else 0
    return Backlog(size, files, state.error, state.refused, tuple(state.missing))


def is_delivered(folder: SpoolFolder) -> bool:
    """Whether the run has ended and all of its spool is delivered."""
    return load_state(folder.state).finished_at is not None and backlog_of(folder).is_empty


def wait_for_delivery(folder: SpoolFolder, seconds: float, meanwhile: Callable[[], None] = lambda: None) -> Backlog:
    """Waits until a spool is delivered, and shows the progress.

    Args:
        folder: The spool.
        seconds: How long to wait at most.
        meanwhile: Called now and then, to ensure that somebody delivers.
    """
    began = time.monotonic()
    columns = (TextColumn("Delivering to MLflow"), BarColumn(), TextColumn("{task.percentage:.0f} %"))
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("", total=max(1, backlog_of(folder).size), visible=False)
        while True:
            backlog, passed = backlog_of(folder), time.monotonic() - began
            bar.update(task, completed=max(0, (bar.tasks[0].total or 0) - backlog.size), visible=passed > _QUIET)
            if backlog.is_empty or passed >= seconds:
                return backlog
            meanwhile()
            time.sleep(_POLL)
