"""Restores the best weights at the very end of a fit."""

from collections.abc import Callable
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer


class RestoreBest(Callback):
    """Calls a function after all other callbacks, checkpoint callbacks included, have seen the last weights.

    `BestLossStopping` adds it; its place is in the table of `callback_order`.

    Args:
        restore: Called once a fit has ended, whether by itself or by an exception.
    """

    def __init__(self, restore: Callable[[Trainer], None]) -> None:
        self.restore = restore

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any, **__: Any) -> None:
        """Restores the best weights."""
        self.restore(trainer)

    on_exception = on_fit_end
