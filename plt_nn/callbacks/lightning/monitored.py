"""A metric that a callback watches: its new values, and an error where it was due and has not been logged."""

from lightning.pytorch import Trainer
from torch import Tensor

from plt_nn.errors import ConfigError, did_you_mean


class MonitoredMetric:
    """Looks for a metric at the moments at which Lightning has it.

    Args:
        monitor: The metric's name.
        user: The name of the callback that watches it, for messages.
    """

    def __init__(self, monitor: str, user: str) -> None:
        self.monitor, self.user = monitor, user
        self._was_logged = self._was_validated = self._is_of_validation = False

    def begin(self, trainer: Trainer, was_logged: bool = False) -> None:
        """Starts a fit.

        Args:
            trainer: The trainer.
            was_logged: Whether the metric was logged before the checkpoint that the fit resumes from.

        Raises:
            ConfigError: If the metric is named like one of validation, and the fit has no validation.
        """
        self._was_logged, self._was_validated, self._is_of_validation = was_logged, False, False
        if self.monitor.startswith("val") and not trainer.enable_validation:
            raise ConfigError(
                f"{self.user} watches {self.monitor!r}, but this fit has no validation: give it validation data, leave "
                "limit_val_batches alone, or watch a metric of training such as 'train_loss'."
            )

    def require_in_sanity_check(self, trainer: Trainer) -> None:
        """Refuses a misspelt metric of validation before training begins; call it in `on_sanity_check_end`."""
        logged = [name for name in trainer.callback_metrics if name.startswith("val")]
        if logged and self.monitor.startswith("val") and self.monitor not in logged:
            raise self._missing(trainer)

    def after_step(self, trainer: Trainer) -> dict[str, Tensor] | None:
        """All metrics logged in the running loop if the monitored one is among them; call it after a batch."""
        metrics = logged_by_this_loop(trainer)
        self._was_logged |= self.monitor in metrics
        return metrics if self.monitor in metrics else None

    def after_validation(self, trainer: Trainer) -> dict[str, Tensor] | None:
        """The same in `on_validation_end`; nothing outside a fit or in its sanity check."""
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return None
        metrics = self.after_step(trainer)
        self._was_validated, self._is_of_validation = True, metrics is not None
        return metrics

    def after_epoch(self, trainer: Trainer) -> dict[str, Tensor] | None:
        """The same in `on_train_epoch_end`; a metric that both loops log under one name is that of validation."""
        return None if self._is_of_validation else self.after_step(trainer)

    def require_logged(self, trainer: Trainer) -> None:
        """Refuses a metric that was not logged by the end of an epoch in which it was due."""
        if not self._was_logged and (self._was_validated or not trainer.enable_validation):
            raise self._missing(trainer)

    def mean(self, metrics: dict[str, Tensor], trainer: Trainer) -> float:
        """The mean of the monitored value over all processes."""
        return float(trainer.strategy.reduce(metrics[self.monitor].detach().clone(), reduce_op="mean"))

    def _missing(self, trainer: Trainer) -> ConfigError:
        logged = sorted(trainer.callback_metrics)
        if self.monitor in logged:
            in_steps = ", or count patience in steps with unit=steps" if self.user == "BestLossStopping" else ""
            return ConfigError(
                f"{self.user} watches {self.monitor!r}, which is logged at each step only: log it with on_epoch=True"
                f"{in_steps}."
            )
        return ConfigError(
            f"{self.user} watches {self.monitor!r}, which is not logged.{did_you_mean(self.monitor, logged, most=4)} "
            f"Logged: {', '.join(logged) or 'nothing'}."
        )


def logged_by_this_loop(trainer: Trainer) -> dict[str, Tensor]:
    """The metrics that the running loop has logged, by name.

    `trainer.callback_metrics` also holds values of earlier loops; a check must see only new ones.
    """
    results = trainer._results
    if results is None:
        return {}
    on_step = trainer._logger_connector._first_loop_iter is not None
    metrics = results.metrics(on_step)["callback"]
    return {name: value for name, value in metrics.items() if isinstance(value, Tensor)}
