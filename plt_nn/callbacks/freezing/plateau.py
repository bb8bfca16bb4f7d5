"""When a phase has reached a plateau: its loss no longer improves, and the next phase starts from its best weights."""

import math
from collections.abc import Callable
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor, nn

from plt_nn.callbacks.lightning.monitored import MonitoredMetric
from plt_nn.callbacks.stopping.best_weights import BestWeights, TensorMap
from plt_nn.callbacks.stopping.patience import CheckHistory, Mode, patience_left


class PlateauBest:
    """Remembers the lowest loss of a phase and the weights that reached it.

    Args:
        module: The module whose weights are copied.
        mode: `min` if lower is better, `max` if higher is better.
        patience: How many checks may pass without improvement.
    """

    def __init__(self, module: nn.Module, mode: Mode, patience: int) -> None:
        self.mode: Mode = mode
        self.patience = patience
        self._history = CheckHistory()
        self._weights = BestWeights(module)

    def check(self, value: float, share: Callable[[TensorMap], TensorMap]) -> bool:
        """Takes a value into account; one that is not finite counts as no improvement.

        Args:
            value: The monitored value, the same on all processes.
            share: Makes the buffers the same on all processes.

        Returns:
            Whether patience has run out.
        """
        now = self._history.begin_check(epoch=0, step=0)
        if math.isfinite(value) and self._history.add(value, {}, self.mode, min_delta=0.0):
            self._weights.capture(share)
        return patience_left(self._history.progress, now, self.patience, "checks") == 0

    def restore(self) -> None:
        """Writes the best weights into the module, if there are any."""
        self._weights.restore()

    def state_dict(self) -> dict[str, Any]:
        """All that is remembered, for a checkpoint."""
        return {**self._history.to_dict(), "weights": self._weights.held()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`, after the module has been restored from the same checkpoint."""
        self._history = CheckHistory.from_dict(state)
        if self._history.progress.best is not None:
            self._weights.take(state["weights"])


class PlateauWatch(EarlyStopping):
    """Calls a function with each new value of a metric, the mean over all processes.

    It stops nothing and has no state. It is an `EarlyStopping` because only for these and for checkpoint callbacks
    Lightning calls `on_train_epoch_end` after the module has logged the epoch's metrics.
    """

    def __init__(self, monitor: str, on_value: Callable[[float, Trainer, LightningModule], None]) -> None:
        super().__init__(monitor)
        self.on_value = on_value
        self._metric = MonitoredMetric(monitor, "FreezingSchedule")

    @property
    def state_key(self) -> str:
        """A name of its own, so that a user may have an `EarlyStopping` too."""
        return type(self).__qualname__

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Does nothing, in contrast to `EarlyStopping`."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts over."""
        self._metric.begin(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Looks for a metric of validation."""
        self._pass_on(self._metric.after_validation(trainer), trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Looks for a metric of training."""
        self._pass_on(self._metric.after_epoch(trainer), trainer, pl_module)
        self._metric.require_logged(trainer)

    def state_dict(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Nothing."""

    def _pass_on(self, metrics: dict[str, Tensor] | None, trainer: Trainer, pl_module: LightningModule) -> None:
        if metrics is not None:
            self.on_value(self._metric.mean(metrics, trainer), trainer, pl_module)
