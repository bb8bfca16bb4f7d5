"""What an epoch has taken so far, without its validations and with them."""

import time
from collections import deque
from collections.abc import Callable

_GLANCES = 30  # from which the present speed is told


class EpochClock:
    """Counts the batches and samples of an epoch, and the time.

    Args:
        epoch: The epoch's number.
        clock: Gives the time in seconds.
    """

    def __init__(self, epoch: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self.epoch, self.batches, self.samples = epoch, 0, 0
        self._clock = clock
        self._began = clock()
        self._paused_at: float | None = None
        self._paused = 0.0
        self._ended_at: float | None = None
        self._glances: deque[tuple[float, int]] = deque([(0.0, 0)], maxlen=_GLANCES)

    def add(self, samples: int) -> None:
        """A batch of so many samples is done."""
        self.batches += 1
        self.samples += samples

    def pause(self) -> None:
        """A validation begins."""
        self._paused_at = self._clock()

    def go_on(self) -> None:
        """It has ended."""
        if self._paused_at is not None:
            self._paused += self._clock() - self._paused_at
            self._paused_at = None

    def end(self) -> None:
        """The epoch has ended."""
        self._ended_at = self._clock()

    @property
    def has_ended(self) -> bool:
        """Whether it has."""
        return self._ended_at is not None

    @property
    def is_validating(self) -> bool:
        """Whether a validation goes on."""
        return self._paused_at is not None

    @property
    def seconds(self) -> float:
        """Seconds since it began, with validations."""
        return (self._clock() if self._ended_at is None else self._ended_at) - self._began

    def speed(self) -> float | None:
        """Samples per second of training over the whole epoch; None before there are any."""
        seconds = self._training_seconds()
        return self.samples / seconds if self.samples and seconds > 0 else None

    def speed_now(self) -> float | None:
        """Samples per second of training over the last glances; this is one."""
        seconds, samples = self._training_seconds(), self.samples
        since, before = self._glances[0]
        if samples > self._glances[-1][1]:
            self._glances.append((seconds, samples))
        return (samples - before) / (seconds - since) if samples > before and seconds > since else None

    def _training_seconds(self) -> float:
        validating = self._clock() - self._paused_at if self._paused_at is not None else 0.0
        return self.seconds - self._paused - validating
