"""The module's state under the names it has without what a callback has put into it for the time of the fit."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from lightning.pytorch import LightningModule, Trainer
from torch import Tensor


@runtime_checkable
class StateTranslator(Protocol):
    """A callback that changes the names of a module's state while it is fitted, as one that inserts adapters does."""

    def plain_state(self, pl_module: LightningModule, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """A state of the module as it is now, under the names of the module as it was."""

    def inserted_state(self, pl_module: LightningModule, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The inverse of `plain_state`."""


def plain_state(trainer: Trainer, pl_module: LightningModule, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """A state of the module, under the names that the module has outside the fit."""
    for translator in _translators(trainer):
        state = translator.plain_state(pl_module, state)
    return state


def inserted_state(trainer: Trainer, pl_module: LightningModule, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """A state under the names that the module has outside the fit, under those that it has now."""
    for translator in _translators(trainer):
        state = translator.inserted_state(pl_module, state)
    return state


def _translators(trainer: Trainer) -> list[StateTranslator]:
    callbacks: list[object] = getattr(trainer, "callbacks", [])
    return [callback for callback in callbacks if isinstance(callback, StateTranslator)]
