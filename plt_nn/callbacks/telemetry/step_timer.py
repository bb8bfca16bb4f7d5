"""Where the time of training steps goes: counted on one process, then put together for all of them."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor


class StepInterval(NamedTuple):
    """What one process did in an interval.

    Attributes:
        elapsed: Seconds of training, without validation.
        waited: Seconds of these in which it waited for its loader.
        own: Seconds of these in which it cannot have waited for another process.
        batches: Batches trained on.
        samples: Samples in them; 0 if that cannot be told.
        memory: The most bytes in use on its GPU; 0 without one.
    """

    elapsed: float
    waited: float
    own: float
    batches: float
    samples: float
    memory: float


class StepTimer:
    """A stopwatch for the steps of one process; each of its methods costs a fraction of a microsecond.

    It runs from the first fetch of a batch until `pause`, and goes on at the next fetch.

    Args:
        clock: Gives the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._running_since: float | None = None
        self._fetch_at = self._exchange_at = 0.0
        self._batch_at: float | None = None
        self.elapsed = self.waited = self.own = 0.0
        self.batches = self.samples = 0

    def fetch_begins(self) -> None:
        """The loop asks the loader for a batch."""
        self._fetch_at = now = self._clock()
        if self._batch_at is None:
            self._batch_at = now
        if self._running_since is None:
            self._running_since = now

    def fetch_ends(self) -> None:
        """The loader has given a batch."""
        self.waited += self._clock() - self._fetch_at

    def exchange_begins(self) -> None:
        """Something begins in which processes may wait for each other."""
        self._exchange_at = self._clock()

    def exchange_ends(self) -> None:
        """It has ended."""
        self.own -= self._clock() - self._exchange_at

    def batch_ends(self, samples: int) -> None:
        """A batch of so many samples is done."""
        if self._batch_at is not None:
            self.own += self._clock() - self._batch_at
            self._batch_at = None
        self.batches += 1
        self.samples += samples

    def pause(self) -> None:
        """Something that is not training begins, for instance a validation."""
        if self._running_since is not None:
            self.elapsed += self._clock() - self._running_since
            self._running_since = None

    def interval(self, memory: float) -> StepInterval:
        """What was counted until the last pause."""
        return StepInterval(self.elapsed, self.waited, self.own, self.batches, self.samples, memory)


def samples_in(batch: Any) -> int:
    """The length of the first tensor in a batch; 0 if there is none."""
    if isinstance(batch, Tensor):
        return batch.shape[0] if batch.ndim else 1
    if isinstance(batch, (tuple, list)):
        parts: Any = batch
    else:
        parts = batch.values() if isinstance(batch, Mapping) else ()
    return next((samples for samples in map(samples_in, parts) if samples), 0)


def step_metrics(intervals: Sequence[StepInterval]) -> dict[str, float]:
    """The metrics of an interval.

    Args:
        intervals: What each process did in it, in the order of their ranks; each at least one batch.

    Returns:
        The metrics by name, as `StepTimes` logs them.
    """
    metrics: dict[str, float] = {}
    samples, longest = sum(one.samples for one in intervals), max(one.elapsed for one in intervals)
    if samples > 0 and longest > 0:
        metrics["perf/samples_per_second"] = samples / longest
    times = {"step": [one.elapsed / one.batches for one in intervals]}
    times["data_wait"] = [one.waited / one.batches for one in intervals]
    if len(intervals) > 1:
        times["own"] = [one.own / one.batches for one in intervals]
        metrics["perf/slowest_rank"] = float(times["own"].index(max(times["own"])))
    for name, seconds in times.items():
        metrics[f"perf/{name}_ms_mean"] = 1000 * sum(seconds) / len(seconds)
        metrics[f"perf/{name}_ms_max"] = 1000 * max(seconds)
    if memory := max(one.memory for one in intervals):
        metrics["perf/gpu_memory_mb_max"] = memory / 1e6
    return metrics


def together(before: Sequence[StepInterval], more: Sequence[StepInterval]) -> list[StepInterval]:
    """Two intervals as one, process by process."""
    sums = ([x + y for x, y in zip(one, other, strict=True)] for one, other in zip(before, more, strict=True))
    return [StepInterval(*values) for values in sums] if before else list(more)


def data_warning(intervals: Sequence[StepInterval], least: float = 5.0) -> str | None:
    """What to tell a person whose loader is slower than the net; None if it is not.

    Args:
        intervals: What each process did in an epoch, in the order of their ranks.
        least: Seconds of waiting that are worth a warning.
    """
    rank, worst = max(enumerate(intervals), key=lambda numbered: numbered[1].waited, default=(0, None))
    if worst is None or worst.waited <= least or worst.waited <= worst.elapsed / 2:
        return None
    where = f" on process {rank}" if len(intervals) > 1 else ""
    return (
        f"Of the {worst.elapsed:.0f} s in which this epoch trained, {worst.waited:.0f} s{where} went by waiting for "
        f"data ({1000 * worst.waited / worst.batches:.0f} ms per step): the loader is slower than the net. "
        "A higher `num_workers` helps where there are cores to spare; else store smaller images, or cache what is "
        "computed for each sample."
    )
