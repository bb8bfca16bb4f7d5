"""The training process's end of a run: writes to the spool, keeps an uploader running, says how the run has ended."""

import atexit
import os
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from lightning.pytorch.utilities.exceptions import SIGTERMException

from plt_nn.text import byte_size, counted, quoted
from plt_nn.tracking.masking import masked_code
from plt_nn.tracking.spool.events import Begin, End, Event, RemovedArtifact, is_line_of
from plt_nn.tracking.spool.folder import SpoolFolder
from plt_nn.tracking.spool.writer import SpoolWriter
from plt_nn.tracking.upload.backlog import Backlog, wait_for_delivery
from plt_nn.tracking.upload.start import start_uploader
from plt_nn.tracking.upload.state import load_state


class RunSpool:
    """A run as the training process knows it. Only `finish` waits, for as long as its argument says.

    Args:
        folder: The spool's folder.
        begin: The first event; the attempt, the host and the process are filled in.
        most_bytes: The limit of the file of events.
        login: Environment variables with which the uploader logs in at the server.
    """

    def __init__(self, folder: SpoolFolder, begin: Begin, most_bytes: int, login: dict[str, str]) -> None:
        self.folder = folder
        self._writer = SpoolWriter(folder, most_bytes)
        self._login = login
        self._uploader: subprocess.Popen[bytes] | None = None
        self._uploader_began = 0.0
        self._is_open = True  # whether something was logged since the last `End`
        self._last_end: End | None = None
        with folder.events.open("rb") as lines:
            attempt = 1 + sum(is_line_of(line, Begin) for line in lines)
        self.append(replace(begin, attempt=attempt, host=socket.gethostname(), pid=os.getpid()))
        self.ensure_delivery()
        atexit.register(self._at_exit)

    @property
    def lost(self) -> int:
        """How many rows this process could not write."""
        return self._writer.lost

    def append(self, event: Event) -> None:
        """Writes an event."""
        self._writer.append(event)
        if not self._is_open:  # the uploader has left, or is about to
            self._is_open = True
            self.ensure_delivery()

    def add_file(self, content: Path | bytes, path: str, is_replaced: bool = False) -> None:
        """Adds a file, or the content of one, to the run's artifacts; see `SpoolWriter.stage`."""
        if (artifact := self._writer.stage(content, path, is_replaced)) is not None:
            self.append(artifact)

    def remove_file(self, path: str) -> None:
        """Removes a file from the run's artifacts."""
        self._writer.unstage(path)
        self.append(RemovedArtifact(path))

    def sync(self) -> None:
        """Makes what was written survive a crash of the machine."""
        self._writer.sync()
        self.ensure_delivery()

    def ensure_delivery(self) -> None:
        """Starts an uploader unless ours is running; one that finds another running waits until that has ended."""
        is_gone = self._uploader is None or self._uploader.poll() is not None
        if is_gone or (load_state(self.folder.state).finished_at or 0.0) >= self._uploader_began:  # about to leave
            self._uploader_began = time.time()
            self._uploader = start_uploader(self.folder, self._login)

    def finish(self, end: End, seconds: float) -> Backlog:
        """Writes how the run has ended, and waits for delivery, for some seconds at most."""
        self._end(end)
        self.sync()
        return wait_for_delivery(self.folder, seconds, self.ensure_delivery)

    def _end(self, end: End) -> None:
        self._writer.append(end)
        self._is_open, self._last_end = False, end

    def _at_exit(self) -> None:
        """The program exits without having ended the run, as when the logger is used without a Trainer."""
        if not self._is_open or not self._writer.is_ours:
            return
        self.ensure_delivery()
        error = getattr(sys, "last_value", None)
        if error is not None:
            self._end(End("FAILED", f"{type(error).__name__}: {error}"))
        else:  # what was logged after an end does not change how the run ended
            last = self._last_end or End("FINISHED")
            self._end(End(last.status, last.reason))


def ending(status: str, error: BaseException | None) -> End:
    """The end of a run, in MLflow's terms.

    Args:
        status: What Lightning passes to a logger: `success` or `failed`.
        error: The exception that is being handled: Lightning finalizes its loggers while it handles what ended the fit.
    """
    if status != "failed":
        return End("FINISHED")
    if isinstance(error, KeyboardInterrupt):
        return End("KILLED", "Interrupted from the keyboard.")
    if isinstance(error, SIGTERMException):
        return End("KILLED", "Ended by SIGTERM.")
    return End("FAILED", masked_code(f"{type(error).__name__}: {error}") if error is not None else None)


def end_warnings(backlog: Backlog, spool: RunSpool) -> list[str]:
    """What the user must know when a run has ended: what is not delivered yet, refused, missing or lost."""
    found: list[str] = []
    if not backlog.is_empty:
        reason = f" ({backlog.reason})" if backlog.reason else ""
        found.append(
            f"{byte_size(max(backlog.size, 0))} of the log and {counted(backlog.files, 'file')} are not in MLflow "
            f"yet{reason}. Nothing is lost: the uploader keeps trying, and `plt-nn sync` delivers them at any time."
        )
    if backlog.refused:
        found.append(f"MLflow refused {counted(backlog.refused, 'entry', 'entries')}; see {spool.folder.quarantine}.")
    if backlog.missing:
        found.append(f"these files were gone before they could be delivered: {quoted(backlog.missing)}.")
    if spool.lost:
        found.append(f"{counted(spool.lost, 'row')} could not be written to {spool.folder.root} and are lost.")
    return found
