"""What MLflow refuses for good: it is found, counted and kept, and holds up nothing else."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from plt_nn.tracking.upload.retries import in_words
from plt_nn.tracking.upload.state import UploadState

T = TypeVar("T")


class DeadLetters:
    """Sends, and keeps what is refused.

    Args:
        quarantine: The file of what was refused, a line each, with MLflow's reason.
        state: How far delivery has come; counts what was refused.
        is_refused: Whether another try is of no use after an error.
    """

    def __init__(self, quarantine: Path, state: UploadState, is_refused: Callable[[Exception], bool]) -> None:
        self._quarantine, self._state, self._is_refused = quarantine, state, is_refused
        self._unwritten: list[dict[str, Any]] = []

    def send(self, send: Callable[[], object], event: Mapping[str, Any]) -> None:
        """Sends what an event says."""
        self.send_together([event], lambda _: send(), lambda event: event)

    def send_together(
        self, items: Sequence[T], send: Callable[[Sequence[T]], object], event: Callable[[T], Mapping[str, Any]]
    ) -> None:
        """Sends items together; if MLflow refuses them, by halves, until what it refuses stands alone.

        Args:
            items: The items.
            send: Sends some of them.
            event: The event that says one item, for the quarantine.
        """
        if not items:
            return
        try:
            send(items)
        except Exception as error:
            if not self._is_refused(error):
                raise
            if len(items) == 1:
                self.add(event(items[0]), in_words(error))
                return
            self.send_together(items[: len(items) // 2], send, event)
            self.send_together(items[len(items) // 2 :], send, event)

    def add(self, event: Mapping[str, Any], reason: str) -> None:
        """Notes an event that cannot be delivered."""
        self._state.refused += 1
        self._unwritten.append({"reason": reason, "event": dict(event)})

    def forget(self) -> None:
        """Forgets what is not written: it will be tried again."""
        self._unwritten = []

    def write(self) -> None:
        """Writes what was refused since the last time."""
        if self._unwritten:
            with self._quarantine.open("a") as file:
                file.writelines(json.dumps(refusal) + "\n" for refusal in self._unwritten)
            self._unwritten = []
