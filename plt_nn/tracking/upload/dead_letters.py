"""What MLflow refuses: it is found, counted and written to a file, and holds up nothing else."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from plt_nn.text import first_line
from plt_nn.tracking.spool.events import Event, to_plain
from plt_nn.tracking.upload.state import UploadState

T = TypeVar("T")


class DeadLetters:
    """Sends events, and sets aside those that MLflow refuses.

    Args:
        quarantine: The file of what was refused, a line each, with MLflow's reason.
        state: How far delivery has come; counts what was refused.
        is_refused: Whether an error is final, so that another try is of no use.
    """

    def __init__(self, quarantine: Path, state: UploadState, is_refused: Callable[[Exception], bool]) -> None:
        self._quarantine, self._state, self._is_refused = quarantine, state, is_refused
        self._unwritten: list[dict[str, Any]] = []

    def send(self, send: Callable[[], object], event: Event) -> None:
        """Sends one event."""
        self.send_together([event], lambda _: send(), lambda event: event)

    def send_together(
        self, items: Sequence[T], send: Callable[[Sequence[T]], object], event: Callable[[T], Event]
    ) -> None:
        """Sends items together; if MLflow refuses them, by halves, until what it refuses stands alone.

        The quarantine gets the event that `event` makes of such an item.
        """
        if not items:
            return
        try:
            send(items)
        except Exception as error:
            if not self._is_refused(error):
                raise
            if len(items) == 1:
                self.add(event(items[0]), first_line(error))
                return
            self.send_together(items[: len(items) // 2], send, event)
            self.send_together(items[len(items) // 2 :], send, event)

    def add(self, event: Event, reason: str) -> None:
        """Notes an event that cannot be delivered."""
        self._state.refused += 1
        self._unwritten.append({"reason": reason, "event": to_plain(event)})

    def forget(self) -> None:
        """Forgets what is not written yet: it will be sent again."""
        self._unwritten = []

    def write(self) -> None:
        """Writes what was refused since the last time."""
        if self._unwritten:
            with self._quarantine.open("a") as file:
                file.writelines(f"{json.dumps(letter)}\n" for letter in self._unwritten)
            self._unwritten = []
