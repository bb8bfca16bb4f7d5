"""The callbacks that `plt-nn` adds to those of a configuration."""

from collections.abc import Sequence
from typing import Any

from lightning.pytorch.callbacks import Callback, ModelCheckpoint, ProgressBar

from plt_nn.callbacks import (
    DatasetInputs,
    DeployableModel,
    FitCosts,
    FitSummary,
    FrozenFeatureCache,
    PredictionTable,
    SignalsBetweenSteps,
    StepSeeds,
    StepTimes,
    SystemMetrics,
    TrainingView,
    ValidationFigures,
)
from plt_nn.reports import RunReport

_OF_EVERY_FIT = (
    DatasetInputs,
    FitCosts,
    FitSummary,
    FrozenFeatureCache,
    SignalsBetweenSteps,
    StepSeeds,
    StepTimes,
    SystemMetrics,
    ValidationFigures,
    RunReport,  # shows what the others have logged
)


def default_callbacks(
    verb: str, trainer_config: Any, given: Sequence[Callback], net: dict[str, Any] | None, is_plain: bool
) -> list[Callback]:
    """The callbacks that a verb has by default, without those that are given.

    Args:
        verb: `fit`, `validate`, `test` or `predict`.
        trainer_config: The arguments of the trainer.
        given: The callbacks of the configuration.
        net: How the configuration makes the net, for the deployable model. None: it does not say.
        is_plain: Whether progress is printed in lines in a terminal too.
    """

    def is_given(kind: type[Callback]) -> bool:
        return any(isinstance(callback, kind) for callback in given)

    callbacks: list[Callback] = [PredictionTable()] if verb == "predict" else []
    if trainer_config.enable_progress_bar is not False and not is_given(ProgressBar):
        callbacks.append(TrainingView(plain=is_plain))
    if verb != "fit":
        return callbacks
    callbacks += [kind() for kind in _OF_EVERY_FIT if not is_given(kind)]
    if not is_given(DeployableModel):
        callbacks.append(DeployableModel(net))
    if trainer_config.enable_checkpointing is not False and not trainer_config.fast_dev_run:
        if not is_given(ModelCheckpoint):
            callbacks.append(ModelCheckpoint(filename="last", save_on_exception=True, enable_version_counter=False))
        elif not any(getattr(callback, "save_on_exception", False) for callback in given):
            callbacks.append(_interrupted())  # so that Ctrl-C or a scheduler's SIGTERM lose no more than a step
    return callbacks


def _interrupted() -> ModelCheckpoint:
    """A checkpoint that is written only when an exception ends the fit."""
    name: Any = {"filename": "interrupted", "enable_version_counter": False}
    return ModelCheckpoint(save_on_exception=True, every_n_epochs=0, every_n_train_steps=0, **name)
