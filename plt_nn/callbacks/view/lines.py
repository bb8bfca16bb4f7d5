"""A fit told in lines, for a log file: one for each epoch, and now and then one in a long epoch."""

import math
import time

from plt_nn.callbacks.view.snapshot import BestSoFar, EpochRow, Snapshot, about, duration, number, speed


class Lines:
    """Prints lines, without a control character.

    Args:
        every: The least time between two lines within an epoch, in seconds.
    """

    refreshes_after = 1.0  # seconds

    def __init__(self, every: float) -> None:
        self._every = every
        self._told_at = time.monotonic()

    def show(self, snapshot: Snapshot) -> None:
        """Prints a line if the last one is long ago."""
        now = time.monotonic()
        if now - self._told_at >= self._every:
            self._told_at = now
            print(progress_line(snapshot), flush=True)

    def epoch(self, row: EpochRow) -> None:
        """Prints an epoch's line."""
        self._told_at = time.monotonic()
        print(epoch_line(row), flush=True)

    def close(self) -> None:
        """Nothing is left to do."""


def progress_line(snapshot: Snapshot) -> str:
    """Such as `Epoch 3/13: 50 of 110 batches, loss 0.5312, 812 samples/s, about 2:05 min left`."""
    of = f" of {snapshot.total:,.0f}" if math.isfinite(snapshot.total) else ""
    parts = [f"{snapshot.done:,}{of} batches"]
    parts += [f"loss {number(snapshot.loss)}"] if snapshot.loss is not None else []
    parts += [speed(snapshot.speed)] if snapshot.speed is not None else []
    return f"{snapshot.doing}: {', '.join(parts + _left(snapshot.left))}"


def epoch_line(row: EpochRow) -> str:
    """Such as `Epoch 3/13: phase 1 (last 3 stages), train_loss 0.1234, val_loss 0.0567 (best), ..., 41 s`."""
    of = f"/{row.last}" if row.last is not None else ""
    parts = [f"phase {row.phase}"] if row.phase is not None else []
    parts += [f"{name} {number(value)}{' (best)' * row.is_best(name)}" for name, value in row.metrics.items()]
    parts += [speed(row.speed)] if row.speed is not None else []
    parts += [duration(row.seconds), *_best(row), *_patience(row.standing), *_left(row.left)]
    return f"Epoch {row.epoch}{of}: {', '.join(parts)}"


def _best(row: EpochRow) -> list[str]:
    best = row.standing
    if best is None or best.best is None or row.is_best(best.monitor):
        return []
    return [f"best {best.monitor} {number(best.best)}" + (f" at epoch {best.epoch}" if best.epoch is not None else "")]


def _patience(standing: BestSoFar | None) -> list[str]:
    if standing is None or standing.left is None:
        return []
    return [f"patience {standing.left} of {standing.patience} {standing.unit}"]


def _left(seconds: float | None) -> list[str]:
    return [f"{about(seconds)} left"] if seconds is not None and seconds > 0 else []
