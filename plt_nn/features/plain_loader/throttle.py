"""How often something may be done for it to take hardly any time."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

SHARE = 0.02  # of the time since it was last done
AT_FIRST = 0.05  # seconds that it may take besides, in all: most fits need no more


class Throttle:
    """Tells when something that costs time may be done again."""

    def __init__(self) -> None:
        self._ended, self._cost, self._spent = time.perf_counter(), 0.0, 0.0

    def expect(self, cost: float) -> None:
        """Says, before it is first done, how long it will take.

        Args:
            cost: Seconds.
        """
        self._ended, self._cost = time.perf_counter(), cost

    def is_due(self) -> bool:
        """Whether it may be done now."""
        passed = time.perf_counter() - self._ended
        return self._cost <= SHARE * passed or self._spent + self._cost <= AT_FIRST

    @contextmanager
    def doing(self) -> Iterator[None]:
        """While it is entered it is done."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._ended = time.perf_counter()
            self._cost = self._ended - began
            self._spent += self._cost
