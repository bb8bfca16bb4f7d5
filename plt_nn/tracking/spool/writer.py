"""The writing end of a spool: appends events, survives a full disk, waits for nobody."""

import contextlib
import os
import shutil
import threading
import warnings
from pathlib import Path

from plt_nn.errors import TrackingError
from plt_nn.files import link_or_copy
from plt_nn.tracking.spool.events import Artifact, Begin, End, Event, LostRows, Metrics, encode, rows_in
from plt_nn.tracking.spool.folder import SpoolFolder
from plt_nn.tracking.spool.locks import ProcessLock

_BEYOND_LIMIT = 64 << 20  # bytes; what a full spool still accepts of what is not metrics, so that the end arrives
_RESERVE = 1 << 16  # bytes of the disk that are freed for the end


class SpoolWriter:
    """Appends events to a spool. Each is written by one call, so that a killed process tears at most the last line.

    A disk that is full, or a spool that has reached its limit, loses rows of metrics: they are counted, one warning is
    given, and the count is written as soon as possible. Training continues. A `Begin` is never lost: it is written as
    soon as there is space.

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
        self._is_torn = False  # whether the last line is incomplete
        self._unreported = 0  # lost rows that no line reports yet
        self._reason = ""  # why the last write failed
        self._unwritten_begin: Event | None = None
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

    def append(self, event: Event) -> bool:
        """Writes an event.

        Returns:
            Whether it was written; otherwise it is lost and counted.
        """
        with self._lock:
            line = encode(event)
            limit = self._most_bytes + (0 if isinstance(event, Metrics) else _BEYOND_LIMIT)
            if self._size + len(line) > limit:
                return self._lose(event, f"the spool has reached its limit of {self._most_bytes >> 20} MB")
            if isinstance(event, End):
                with contextlib.suppress(OSError):
                    self.folder.reserve.unlink()
            is_written = self._write_overdue() and self._write(line)
            return is_written or self._lose(event, self._reason)

    def stage(self, content: Path | bytes, path: str, is_replaced: bool = False) -> Artifact | None:
        """Copies a file for delivery, as it is now, and drops an earlier copy for the same path.

        Args:
            content: The file, or the content of one that does not exist yet.
            path: Its path among the run's artifacts.
            is_replaced: Whether whoever writes the file replaces it rather than writing into it, as for checkpoints:
                then a second name for it suffices, which takes neither time nor space.

        Returns:
            The event to append; None if the file could not be copied.
        """
        with self._lock:
            self._file_number += 1
            folder = self.folder.files / f"{self._file_number:06d}"  # one each: MLflow names artifacts by their file
        target = folder / Path(path).name
        try:
            folder.mkdir(exist_ok=True)
            if isinstance(content, bytes):
                target.write_bytes(content)
            else:
                (link_or_copy if is_replaced else shutil.copyfile)(content, target)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            self._warn_once("files", f"{path} could not be copied for MLflow: {error}")
            return None
        self.unstage(path)
        self._staged[path] = target
        return Artifact(str(target.relative_to(self.folder.root)), path)

    def unstage(self, path: str) -> None:
        """Drops the file that waits for delivery under a path."""
        earlier = self._staged.pop(path, None)
        if earlier is not None:
            shutil.rmtree(earlier.parent, ignore_errors=True)

    def sync(self) -> None:
        """Makes sure that what was written survives a crash of the machine."""
        try:
            os.fsync(self._file)
        except OSError as error:
            self._reason = str(error)

    def close(self) -> None:
        """Closes the file; the spool can be opened again."""
        if self.is_ours:
            os.close(self._file)
        self._process_lock.release()

    def _open(self) -> int:
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
        self._is_torn = _ends_torn(events)
        self._file_number = max((int(f.name) for f in self.folder.files.iterdir() if f.name.isdecimal()), default=0)
        return file

    def _write(self, line: bytes) -> bool:
        line = b"\n" + line if self._is_torn else line
        try:
            written = os.write(self._file, line)
        except OSError as error:
            self._reason = str(error)
            return False
        self._size += written
        self._is_torn = written < len(line)
        if self._is_torn:
            self._reason = "the disk is full"
        return not self._is_torn

    def _write_overdue(self) -> bool:
        """Writes what could not be written before: the beginning, and how many rows were lost."""
        if self._unwritten_begin is not None:
            if not self._write(encode(self._unwritten_begin)):
                return False
            self._unwritten_begin = None
        if self._unreported and not self._write(encode(LostRows(self._unreported, self._reason))):
            return False
        self._unreported = 0
        return True

    def _lose(self, event: Event, reason: str) -> bool:
        self._reason = reason
        if isinstance(event, Begin):
            self._unwritten_begin = event
            return False
        rows = max(1, rows_in(event))
        self.lost += rows
        self._unreported += rows
        self._warn_once("rows", f"{reason}: what is logged is being lost. Training continues; what is lost is counted")
        return False

    def _warn_once(self, about: str, text: str) -> None:
        if about not in self._warned:
            self._warned.add(about)
            warnings.warn(f"{self.folder.root}: {text}.", stacklevel=4)


def _ends_torn(path: Path) -> bool:
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
