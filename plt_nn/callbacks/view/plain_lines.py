"""The view as lines for a log file: one for each epoch, and now and then one within a long epoch."""

import time

from plt_nn.callbacks.view.snapshot import Snapshot


class PlainLines:
    """Prints lines without control characters.

    Args:
        every: The least time between two lines within an epoch, in seconds.
    """

    def __init__(self, every: float) -> None:
        self._every = every
        self.next_at = time.monotonic() + every

    def show(self, snapshot: Snapshot) -> None:
        """Prints the present moment: `Epoch 3/13: 50 of 110 batches, loss 0.5312, 812 samples/s, about 7 s left`."""
        words = snapshot.words()
        self._print(snapshot.title, f"{words['count'].replace('/', ' of ')} batches", words, "metrics", "speed", "left")

    def show_epoch(self, epoch: Snapshot) -> None:
        """Prints an epoch that has ended: `Epoch 3/13: phase 1 head, train_loss 0.12, val_loss 0.05 (best), ...`."""
        self._print(epoch.title, "", epoch.words(), "phase", "metrics", "speed", "time", "best", "patience", "left")

    def close(self) -> None:
        """Nothing has to be closed."""

    def _print(self, title: str, first: str, words: dict[str, str], *chosen: str) -> None:
        parts = [first, *(words.get(name, "") for name in chosen)]
        print(f"{title}: {', '.join(filter(None, parts))}", flush=True)
        self.next_at = time.monotonic() + self._every
