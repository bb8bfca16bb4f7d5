"""Limits how often an expensive check is made, so that it takes a small share of the time."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

SHARE = 0.02  # of the time since the last check
AT_FIRST = 0.05  # seconds that all checks may take besides: most fits need no more


class Throttle:
    """Decides when a check may be made again."""

    def __init__(self) -> None:
        self._ended, self._cost, self._spent = time.perf_counter(), 0.0, 0.0

    def expect(self, cost: float) -> None:
        """Sets, before the first check, how many seconds a check is expected to take."""
        self._ended, self._cost = time.perf_counter(), cost

    def is_due(self) -> bool:
        """Whether a check may be made now."""
        passed = time.perf_counter() - self._ended
        return self._cost <= SHARE * passed or self._spent + self._cost <= AT_FIRST

    @contextmanager
    def doing(self) -> Iterator[None]:
        """Times the check that is made inside."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._ended = time.perf_counter()
            self._cost = self._ended - began
            self._spent += self._cost
