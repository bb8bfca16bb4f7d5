"""A stopwatch that can be stopped and started again."""

import time
from collections.abc import Callable

Clock = Callable[[], float]


class Stopwatch:
    """Adds up the time between each `start` and the next `stop`.

    Args:
        clock: Gives the time in seconds.
    """

    def __init__(self, clock: Clock = time.perf_counter) -> None:
        self._clock, self._before = clock, 0.0
        self._since: float | None = None

    def start(self) -> None:
        """Starts, if it does not run already."""
        if self._since is None:
            self._since = self._clock()

    def stop(self) -> None:
        """Stops, if it runs."""
        if self._since is not None:
            self._before += self._clock() - self._since
            self._since = None

    @property
    def is_running(self) -> bool:
        """Whether it runs."""
        return self._since is not None

    @property
    def seconds(self) -> float:
        """All time so far."""
        return self._before + (self._clock() - self._since if self._since is not None else 0.0)
