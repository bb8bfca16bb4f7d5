"""Looks at the loss that a freezing schedule monitors, at the moments at which Lightning has it."""

from collections.abc import Callable
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping

from plt_nn.callbacks.lightning.monitored import logged_by_this_loop, missing_metric


class PlateauWatch(EarlyStopping):
    """Calls a function with each new value of a metric, the mean over all processes.

    It is an `EarlyStopping` so that Lightning calls it after the module has logged an epoch's metrics; it stops nothing
    and has no state.

    Args:
        monitor: The metric.
        on_value: Called with the value.
    """

    def __init__(self, monitor: str, on_value: Callable[[float, Trainer, LightningModule], None]) -> None:
        super().__init__(monitor)
        self.on_value = on_value
        self._seen = self._validated = self._in_validation = False

    @property
    def state_key(self) -> str:
        """A name of its own."""
        return type(self).__qualname__

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Nothing to set up."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begins anew."""
        self._seen = self._validated = self._in_validation = False

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Looks for a metric of validation."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._validated = True
            self._look(trainer, pl_module)
            self._in_validation = self._seen

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Looks for a metric of training."""
        if not self._in_validation:  # one name in both loops is the validation's
            self._look(trainer, pl_module)
        if not self._seen and (self._validated or not trainer.enable_validation):
            raise missing_metric(trainer, self.monitor, "FreezingSchedule")

    def state_dict(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Nothing."""

    def _look(self, trainer: Trainer, pl_module: LightningModule) -> None:
        metrics = logged_by_this_loop(trainer)
        if self.monitor in metrics:
            self._seen = True
            value = trainer.strategy.reduce(metrics[self.monitor].detach().clone(), reduce_op="mean")
            self.on_value(float(value), trainer, pl_module)
