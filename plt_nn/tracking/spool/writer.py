"""The writing end of a spool: appends events, survives a full disk, never waits for anyone."""

import contextlib
import os
import shutil
import threading
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from plt_nn.errors import TrackingError
from plt_nn.files import link_or_copy
from plt_nn.tracking.spool.events import encoded, rows_in
from plt_nn.tracking.spool.folder import SpoolFolder
from plt_nn.tracking.spool.locks import ProcessLock

_MODEST = 64 << 20  # bytes; what a full spool still takes of what is not metrics, so that the end arrives
_RESERVE = 1 << 16  # bytes of the disk that are given back for the end


class SpoolWriter:
    """Appends events to a spool. Each is written by one call, so that a killed process tears at most the last line.

    A disk that is full, or a spool that has reached its limit, loses rows of metrics: they are counted, a warning is
    given once, and the count is written as soon as that can be done. Training goes on. A beginning is never lost: it is
    written as soon as there is room.

    Args:
        folder: The spool's folder, which need not exist yet.
        most_bytes: The limit of the file of events.

    Raises:
        TrackingError: If the folder cannot be made or written to, for another reason than a full disk.
    """

    def __init__(self, folder: SpoolFolder, most_bytes: int) -> None:
        self.folder = folder
        self.lost = 0
        self._most_bytes = most_bytes
        self._lock = threading.RLock()  # a signal's handler may log while this very thread does
        self._process_lock = ProcessLock(folder.writer_lock)
        self._torn = False
        self._untold = 0
        self._beginning: bytes | None = None  # one that could not be written yet
        self._warned: set[str] = set()
        self._file_number = 0
        self._staged: dict[str, Path] = {}
        self._owner = os.getpid()
        self._file = self._open()
        self._size = os.fstat(self._file).st_size

    @property
    def is_ours(self) -> bool:
        """Whether this process has opened it, rather than the one that this was forked from."""
        return self._owner == os.getpid()

    def append(self, event: Mapping[str, Any]) -> bool:
        """Writes an event.

        Returns:
            Whether it was written; otherwise it is lost and counted.
        """
        with self._lock:
            line = encoded(event)
            limit = self._most_bytes + (0 if event["kind"] == "metrics" else _MODEST)
            if self._size + len(line) > limit:
                return self._lose(event, f"the spool has reached its limit of {self._most_bytes >> 20} MB")
            if event["kind"] == "end":
                with contextlib.suppress(OSError):
                    self.folder.reserve.unlink()
            is_written = self._catch_up() and self._write(line)
            return is_written or self._lose(event, self._why)

    def stage(self, source: Path, path: str, is_replaced: bool = False) -> str | None:
        """Sets a file aside for delivery, as it is now, and drops an earlier one for the same path.

        Args:
            source: The file.
            path: Its path among the run's artifacts.
            is_replaced: Whether whoever writes the file replaces it rather than writing into it, as for checkpoints:
                then a second name for it will do, which takes neither time nor space.

        Returns:
            The name in the spool's folder; None if the file could not be set aside.
        """
        put = link_or_copy if is_replaced else shutil.copyfile
        return self._stage(path, lambda target: put(source, target))

    def stage_bytes(self, content: bytes, path: str) -> str | None:
        """The same for a file that does not exist yet."""
        return self._stage(path, lambda target: target.write_bytes(content))

    def unstage(self, path: str) -> None:
        """Drops the file that waits for delivery under a path, which is no longer wanted there."""
        earlier = self._staged.pop(path, None)
        if earlier is not None:
            _drop(earlier)

    def sync(self) -> None:
        """Makes sure that what was written survives the machine."""
        try:
            os.fsync(self._file)
        except OSError as error:
            self._why = str(error)

    def close(self) -> None:
        """Lets go of the file; the spool can be opened again."""
        if self.is_ours:
            os.close(self._file)
        self._process_lock.release()

    def _open(self) -> int:
        self._why = ""
        events = self.folder.events
        try:
            self.folder.files.mkdir(parents=True, exist_ok=True)
            self._process_lock.take()  # a parent process may have it: as long as that lives, so does this run
            file = os.open(events, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise TrackingError(
                f"The run cannot be logged: {self.folder.root} cannot be written ({error.strerror}). Let `store` name "
                "a folder on a disk that has room and that you may write to."
            ) from error
        with contextlib.suppress(OSError):
            self.folder.reserve.write_bytes(os.urandom(_RESERVE))  # what can be compressed would reserve nothing
        self._torn = _ends_torn(events)
        self._file_number = max((int(f.name) for f in self.folder.files.iterdir() if f.name.isdecimal()), default=0)
        return file

    def _write(self, line: bytes) -> bool:
        line = b"\n" + line if self._torn else line
        try:
            written = os.write(self._file, line)
        except OSError as error:
            self._why = str(error)
            return False
        self._size += written
        self._torn = written < len(line)
        if self._torn:
            self._why = "the disk is full"
        return not self._torn

    def _catch_up(self) -> bool:
        """Writes what is owed: a beginning, and how much was lost."""
        if self._beginning is not None:
            if not self._write(self._beginning):
                return False
            self._beginning = None
        if self._untold and not self._write(encoded({"kind": "lost", "rows": self._untold, "reason": self._why})):
            return False
        self._untold = 0
        return True

    def _lose(self, event: Mapping[str, Any], reason: str) -> bool:
        self._why = reason
        if event["kind"] == "begin":
            self._beginning = encoded(event)
            return False
        rows = max(1, rows_in(event))
        self.lost += rows
        self._untold += rows
        self._warn("rows", f"{reason}: what is logged is being lost. Training goes on, and what is lost is counted")
        return False

    def _warn(self, about: str, text: str) -> None:
        if about not in self._warned:
            self._warned.add(about)
            warnings.warn(f"{self.folder.root}: {text}.", stacklevel=4)

    def _next_file(self, path: str) -> Path:
        with self._lock:
            self._file_number += 1
            folder = (
                self.folder.files / f"{self._file_number:06d}"
            )  # a folder each: MLflow names artifacts by their file
        return folder / Path(path).name

    def _stage(self, path: str, put: Callable[[Path], object]) -> str | None:
        target = self._next_file(path)
        try:
            target.parent.mkdir(exist_ok=True)
            put(target)
        except OSError as error:
            _drop(target)
            self._warn("files", f"{path} could not be set aside for MLflow: {error}")
            return None
        self.unstage(path)
        self._staged[path] = target
        return str(target.relative_to(self.folder.root))


def _drop(staged: Path) -> None:
    shutil.rmtree(staged.parent, ignore_errors=True)


def _ends_torn(path: Path) -> bool:
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
