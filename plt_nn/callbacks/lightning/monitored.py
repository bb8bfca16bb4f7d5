"""Finding a monitored metric in what the running loop has logged, and saying so when it is not there."""

from lightning.pytorch import Trainer
from torch import Tensor

from plt_nn.errors import ConfigError, did_you_mean


def logged_by_this_loop(trainer: Trainer) -> dict[str, Tensor]:
    """The metrics that the loop that runs now has logged, by name.

    `trainer.callback_metrics` also holds values of earlier loops; a check must see only what is new.
    """
    results = trainer._results
    if results is None:
        return {}
    on_step = trainer._logger_connector._first_loop_iter is not None
    metrics = results.metrics(on_step)["callback"]
    return {name: value for name, value in metrics.items() if isinstance(value, Tensor)}


def require_validation(trainer: Trainer, monitor: str, user: str) -> None:
    """Makes sure that a metric that is named like one of validation can be logged.

    Args:
        trainer: The trainer.
        monitor: The metric.
        user: The name of the callback that watches it.

    Raises:
        ConfigError: If the fit has no validation.
    """
    if monitor.startswith("val") and not trainer.enable_validation:
        raise ConfigError(
            f"{user} watches {monitor!r}, but this fit has no validation: give it validation data, leave "
            "limit_val_batches alone, or watch a metric of training such as 'train_loss'."
        )


def missing_metric(trainer: Trainer, monitor: str, user: str) -> ConfigError:
    """The error for a metric that was not logged where it had its chance."""
    logged = sorted(trainer.callback_metrics)
    if monitor in logged:
        return ConfigError(
            f"{user} watches {monitor!r}, which is logged at each step only: log it with on_epoch=True"
            f"{', or count patience in steps with unit=steps' if user == 'BestLossStopping' else ''}."
        )
    return ConfigError(
        f"{user} watches {monitor!r}, which is not logged.{did_you_mean(monitor, logged, most=4)} "
        f"Logged: {', '.join(logged) or 'nothing'}."
    )
