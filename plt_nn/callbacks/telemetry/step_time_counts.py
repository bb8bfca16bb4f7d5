"""Where the time of training steps goes: counted on one process, then merged for all of them. Pure."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor

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


class StepInterval(NamedTuple):
    """What one process did in an interval."""

    elapsed: float  # seconds of training, without validation
    waited: float  # of these: waiting for the loader
    own: float  # of these: not possibly waiting for another process
    batches: float  # trained on
    samples: float  # in them; 0 if unknown
    memory: float  # the most bytes in use on its GPU; 0 without one


class StepTimer:
    """Times the steps of one process; each of its methods costs about a microsecond.

    It runs from the first fetch of a batch until `pause`, and continues at the next fetch.

    Args:
        clock: Gives the time in seconds.

    Attributes:
        exchange: Runs while processes may wait for each other.
    """

    def __init__(self, clock: Clock = time.perf_counter) -> None:
        self._training, self._waiting, self._batch = Stopwatch(clock), Stopwatch(clock), Stopwatch(clock)
        self.exchange = Stopwatch(clock)
        self.batches = self.samples = 0

    def begin_fetch(self) -> None:
        """The loop asks the loader for a batch."""
        for watch in (self._training, self._batch, self._waiting):
            watch.start()

    def end_fetch(self) -> None:
        """The loader has given a batch."""
        self._waiting.stop()

    def end_batch(self, samples: int) -> None:
        """A batch of so many samples is done."""
        self._batch.stop()
        self.batches += 1
        self.samples += samples

    def pause(self) -> None:
        """Something that is not training begins, for instance a validation."""
        self._training.stop()

    def interval(self, memory: float) -> StepInterval:
        """What was counted so far."""
        own = self._batch.seconds - self.exchange.seconds
        return StepInterval(self._training.seconds, self._waiting.seconds, own, self.batches, self.samples, memory)


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
    """The metrics of an interval by name, as `StepTimes` logs them.

    Args:
        intervals: What each process did in it, in the order of their ranks; each at least one batch.
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


def merge(before: Sequence[StepInterval], more: Sequence[StepInterval]) -> list[StepInterval]:
    """Two intervals as one, process by process."""
    sums = ([x + y for x, y in zip(one, other, strict=True)] for one, other in zip(before, more, strict=True))
    return [StepInterval(*values) for values in sums] if before else list(more)


def data_warning(intervals: Sequence[StepInterval], least: float = 5.0) -> str | None:
    """A warning if the loader is slower than the net; else None.

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
