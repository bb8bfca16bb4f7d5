"""Which metric the view watches, its best value, and the patience that remains."""

import math
from collections.abc import Mapping

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from plt_nn.callbacks.lightning.callback_order import callback_of, callbacks_of
from plt_nn.callbacks.stopping.best_loss_stopping import BestLossStopping
from plt_nn.callbacks.stopping.patience import Mode, is_better
from plt_nn.callbacks.view.snapshot import BestSoFar

_Monitoring = BestLossStopping | EarlyStopping | ModelCheckpoint


class BestTracker:
    """Follows the metric of early stopping, else that of a checkpoint callback, else `val_loss`.

    Args:
        trainer: The trainer at the start of a fit. If it is resumed, the best value comes from its callbacks; a metric
            that none of them monitors is not followed, because its best before is unknown.
    """

    def __init__(self, trainer: Trainer) -> None:
        is_new = trainer.global_step == 0
        known = [*callbacks_of(trainer, BestLossStopping), *callbacks_of(trainer, EarlyStopping)]
        candidates: list[_Monitoring] = [*known, *callbacks_of(trainer, ModelCheckpoint)]
        found = [callback for callback in candidates if callback.monitor is not None]
        self.monitor: str | None = found[0].monitor if found else "val_loss" if is_new else None
        self.mode: Mode = "max" if found and found[0].mode == "max" else "min"
        self.value = None if is_new or not found else _best_value(found[0])
        self.epoch: int | None = None

    def update(self, metrics: Mapping[str, float], epoch: int) -> None:
        """Compares the metrics of an epoch that has ended."""
        value = metrics.get(self.monitor or "", math.nan)
        if math.isfinite(value) and is_better(value, self.value, self.mode):
            self.value, self.epoch = value, epoch

    def best(self, trainer: Trainer) -> BestSoFar | None:
        """The best so far; `BestLossStopping` knows it at each check, not only at an epoch's end."""
        if self.monitor is None:
            return None
        if stopping := callback_of(trainer, BestLossStopping):
            progress, remaining = stopping.progress, min(stopping.patience, stopping.patience_left)
            epoch = progress.best_at.epochs if progress.best_at is not None else None
            return BestSoFar(self.monitor, progress.best, epoch, remaining, stopping.patience, stopping.unit)
        if early := callback_of(trainer, EarlyStopping):
            remaining = max(0, early.patience - early.wait_count)
            return BestSoFar(self.monitor, self.value, self.epoch, remaining, early.patience)
        return BestSoFar(self.monitor, self.value, self.epoch)


def _best_value(callback: _Monitoring) -> float | None:
    """The best value that a callback has restored from a checkpoint."""
    score = callback.best_model_score if isinstance(callback, ModelCheckpoint) else callback.best_score
    return float(score) if score is not None and math.isfinite(score) else None
