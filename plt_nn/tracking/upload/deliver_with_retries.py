"""The uploader's loop: delivers what there is, waits for more, retries what fails, and ends when the run has."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from plt_nn.text import first_line
from plt_nn.tracking.spool.events import End, is_line_of
from plt_nn.tracking.spool.folder import SpoolFolder
from plt_nn.tracking.spool.locks import ProcessLock
from plt_nn.tracking.spool.reader import read_batch
from plt_nn.tracking.upload.retry_rule import pauses
from plt_nn.tracking.upload.state import load_state

if TYPE_CHECKING:
    from plt_nn.tracking.upload.delivery import Delivery

POLL = 0.1  # seconds between looks for new events
GATHER = 2.0  # seconds for which rows are gathered, unless they are many
MANY = 1 << 16  # bytes of events
ROWS_AT_ONCE = 10_000  # rows between two saves of the state
_TAIL = 1 << 13  # bytes, more than an `end` takes


def upload(
    folder: SpoolFolder,
    stop: threading.Event,
    follow: bool = True,
    patience: float | None = None,
    takes_over: bool = False,
) -> bool:
    """Delivers a spool, once no other process delivers it.

    Args:
        folder: The spool.
        stop: When set, delivery ends at the next opportunity.
        follow: Whether to stay until the run has ended, rather than until all that is there now is delivered.
        patience: Seconds for which a delivery that fails is tried again. Default: forever.
        takes_over: Whether another process that delivers it and fails is asked to leave: it may have a wrong password.

    Returns:
        Whether everything is delivered.
    """
    lock = ProcessLock(folder.uploader_lock)
    while not lock.take():
        if takes_over:
            folder.handover.touch()
        if stop.wait(POLL):
            if takes_over:
                folder.handover.unlink(missing_ok=True)
            return False
    try:
        folder.handover.unlink(missing_ok=True)
        return _Upload(folder, stop, follow, patience).run()
    finally:
        lock.release()


@contextlib.contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """Gives an event that SIGTERM and Ctrl-C set within the block; after it they do what they did before."""
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Upload:
    def __init__(self, folder: SpoolFolder, stop: threading.Event, follow: bool, patience: float | None) -> None:
        self._folder, self._stop, self._follow, self._patience = folder, stop, follow, patience
        self._state = load_state(folder.state)
        self._delivery: Delivery | None = None
        self._pauses = pauses()
        self._failing_since: float | None = None
        self._waiting_since: float | None = None
        self._seen = 0  # bytes of events when they were last looked for

    def run(self) -> bool:
        while not self._stop.is_set():
            try:
                is_over = self._step()
            except Exception as error:  # noqa: BLE001  # whatever it is, the events are safe, and it may soon be over
                is_over = self._failed(error)
            if is_over is not None:
                return is_over
        return False

    def _step(self) -> bool | None:
        """Takes the next step; when nothing remains to be done, returns whether everything is delivered."""
        if not self._folder.events.exists():
            return True  # somebody has removed the spool
        writer_is_alive = self._folder.writer_is_alive()  # before its last events are looked for
        self._seen = self._folder.size()
        pending = self._seen - self._state.offset
        if pending > 0 and self._is_time(pending, writer_is_alive):
            batch = read_batch(self._folder.events, self._state.offset, ROWS_AT_ONCE)
            if batch:
                self._connected().apply(batch)
                self._succeeded()
                return None
        elif pending > 0:
            self._stop.wait(POLL)
            return None
        return self._after_events(writer_is_alive)

    def _after_events(self, writer_is_alive: bool) -> bool | None:
        """The step after all events are delivered, except a line that was torn or is being written."""
        if not writer_is_alive and self._state.offset == 0:
            return self._finished()  # the disk was full from the first line on
        if not writer_is_alive and self._state.status is None:
            self._connected().end_vanished(int(self._folder.events.stat().st_mtime * 1000))
            self._succeeded()
        if self._state.files or self._state.model is not None:
            delivery = self._connected()
            if delivery.has_files:
                delivery.deliver_files()
                self._succeeded()
        if self._state.status is not None and (self._state.ended or not writer_is_alive):
            return self._finished()
        if not self._follow:
            return True
        self._stop.wait(POLL)
        return None

    def _finished(self) -> bool | None:
        """Saves that all is delivered, then looks for new events: who logs writes first, then reads the state."""
        self._state.error, self._state.finished_at = None, time.time()
        self._state.save(self._folder.state)
        return True if self._folder.size() == self._seen else None

    def _is_time(self, pending: int, writer_is_alive: bool) -> bool:
        now = time.monotonic()
        self._waiting_since = self._waiting_since or now
        is_urgent = self._delivery is None or not self._follow or not writer_is_alive or pending >= MANY
        return is_urgent or now - self._waiting_since >= GATHER or self._ends()

    def _ends(self) -> bool:
        with self._folder.events.open("rb") as file:
            file.seek(-min(_TAIL, file.seek(0, os.SEEK_END)), os.SEEK_END)
            return is_line_of(file.read().rstrip(b"\n").rpartition(b"\n")[2], End)

    def _connected(self) -> "Delivery":
        if self._delivery is None:
            from plt_nn.tracking.upload.delivery import Delivery  # MLflow takes a second

            self._delivery = Delivery(self._folder, self._state)
        return self._delivery

    def _succeeded(self) -> None:
        self._waiting_since = self._failing_since = None
        self._pauses = pauses()
        self._state.error = self._state.finished_at = None
        self._state.save(self._folder.state)

    def _failed(self, error: Exception) -> bool | None:
        now = time.monotonic()
        self._failing_since = self._failing_since or now
        text = first_line(error)
        is_news = text != self._state.error
        self._state.error, self._state.finished_at = text, None
        with contextlib.suppress(OSError):  # a full disk must not end the uploader
            if is_news:
                print(f"{time.strftime('%F %T')} {type(error).__name__}: {text}", flush=True)
            self._state.save(self._folder.state)
        if self._folder.handover.exists():
            return False
        if self._patience is not None and now - self._failing_since >= self._patience:
            return False
        self._stop.wait(next(self._pauses))
        return None
