"""The training process's end of a run: writes to the spool, and sees to it that an uploader is at work on it."""

import atexit
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plt_nn.tracking.spool.events import VERSION
from plt_nn.tracking.spool.folder import SpoolFolder
from plt_nn.tracking.spool.writer import SpoolWriter
from plt_nn.tracking.upload.backlog import Backlog, wait_for_delivery
from plt_nn.tracking.upload.start import start_uploader
from plt_nn.tracking.upload.state import load_state


class RunSpool:
    """A run as the training process knows it. Nothing here waits for anybody, but `finish`, for as long as it is told.

    Args:
        folder: The spool's folder.
        beginning: What the first event says of the run: `experiment`, `run_name`, `uri`, `tags`, `parent`, `resumed`.
        node: The machine, from 0.
        most_bytes: The limit of the file of events.
        login: Environment variables with which the uploader logs in at the server.
    """

    def __init__(
        self, folder: SpoolFolder, beginning: Mapping[str, Any], node: int, most_bytes: int, login: dict[str, str]
    ) -> None:
        self.folder = folder
        self._writer = SpoolWriter(folder, most_bytes)
        self._login = login
        self._uploader: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._is_open = True  # whether something was logged since the run was last said to have ended
        self._said: tuple[str | None, str | None] | None = None  # how the run was last said to have ended
        about = {"node": node, "attempt": _attempts(folder) + 1, "host": socket.gethostname(), "pid": os.getpid()}
        self.append({"kind": "begin", "version": VERSION, "uid": folder.uid, "time": now(), **beginning, **about})
        self.see_to_delivery()
        atexit.register(self._at_exit)

    @property
    def lost(self) -> int:
        """How many rows this process could not write."""
        return self._writer.lost

    def append(self, event: Mapping[str, Any]) -> None:
        """Writes an event."""
        self._writer.append(event)
        if not self._is_open:  # the uploader has left, or is about to
            self._is_open = True
            self.see_to_delivery()

    def add_file(self, source: Path, path: str, is_replaced: bool = False) -> None:
        """Keeps a file with the run; see `SpoolWriter.stage`."""
        self._add_staged(self._writer.stage(source, path, is_replaced), path)

    def add_content(self, content: bytes, path: str) -> None:
        """Keeps a content with the run, under a path."""
        self._add_staged(self._writer.stage_bytes(content, path), path)

    def remove_file(self, path: str) -> None:
        """Takes a file from the run."""
        self._writer.unstage(path)
        self.append({"kind": "remove", "path": path})

    def sync(self) -> None:
        """Makes what was written survive the machine."""
        self._writer.sync()
        self.see_to_delivery()

    def see_to_delivery(self) -> None:
        """Starts an uploader unless ours is at work; one that finds another at work waits until that has ended."""
        is_gone = self._uploader is None or self._uploader.poll() is not None
        if is_gone or (load_state(self.folder.state).finished_at or 0.0) >= self._started_at:  # or is about to leave
            self._started_at = time.time()
            self._uploader = start_uploader(self.folder, self._login)

    def finish(self, status: str | None, reason: str | None, seconds: float) -> Backlog:
        """Says that the run has ended, and waits for delivery.

        Args:
            status: FINISHED, FAILED or KILLED; None on a machine that does not speak for the run.
            reason: Why, if it has not simply finished.
            seconds: How long to wait at most.
        """
        self._end(status, reason)
        self._writer.sync()
        self.see_to_delivery()
        return wait_for_delivery(self.folder, seconds, self.see_to_delivery)

    def _end(self, status: str | None, reason: str | None) -> None:
        self._writer.append({"kind": "end", "time": now(), "status": status, "reason": reason})
        self._is_open, self._said = False, (status, reason)

    def _add_staged(self, file: str | None, path: str) -> None:
        if file is not None:
            self.append({"kind": "artifact", "file": file, "path": path})

    def _at_exit(self) -> None:
        """The program ends without having said so, as when the logger is used without a Trainer."""
        if self._is_open and self._writer.is_ours:
            self.see_to_delivery()
            error = getattr(sys, "last_value", None)
            if error is not None:
                self._end("FAILED", f"{type(error).__name__}: {error}")
            else:  # what was logged after an end does not change how it was
                self._end(*(self._said or ("FINISHED", None)))


def _attempts(folder: SpoolFolder) -> int:
    """How often the run has begun."""
    with folder.events.open("rb") as lines:
        return sum(line.startswith(b'{"kind":"begin"') for line in lines)


def now() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000
