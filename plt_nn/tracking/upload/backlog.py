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
    """What is not delivered yet.

    Args:
        size: Bytes of events.
        files: Files.
        reason: Why delivery waits, if it is known.
        refused: How many events MLflow has refused for good.
        missing: Files that were gone before they could be delivered.
    """

    size: int
    files: int
    reason: str | None
    refused: int
    missing: tuple[str, ...]

    @property
    def is_nothing(self) -> bool:
        """Whether everything is delivered that can be."""
        return self.size <= 0 and self.files == 0


def backlog_of(folder: SpoolFolder) -> Backlog:
    """What of a spool is not delivered yet."""
    state = load_state(folder.state)
    files = len(state.files) + (state.model is not None)
    waits = next(read_events(folder.events, state.offset), None) is not None  # rather than a line that was torn
    size = folder.size() - state.offset if waits else 0
    return Backlog(size, files, state.error, state.refused, tuple(state.missing))


def wait_for_delivery(folder: SpoolFolder, seconds: float, tend: Callable[[], None] = lambda: None) -> Backlog:
    """Waits until a spool is delivered, showing how far that is.

    Args:
        folder: The spool.
        seconds: How long to wait at most.
        tend: Called now and then, to see to it that somebody delivers.
    """
    began = time.monotonic()
    columns = (TextColumn("Delivering to MLflow"), BarColumn(), TextColumn("{task.percentage:.0f} %"))
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("", total=max(1, backlog_of(folder).size), visible=False)
        while True:
            left, passed = backlog_of(folder), time.monotonic() - began
            bar.update(task, completed=max(0, (bar.tasks[0].total or 0) - left.size), visible=passed > _QUIET)
            if left.is_nothing or passed >= seconds:
                return left
            tend()
            time.sleep(_POLL)
