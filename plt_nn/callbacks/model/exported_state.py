"""The module's state under the names that it has without adapters and compilers."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from plt_nn.callbacks.lightning.callback_order import all_callbacks


@runtime_checkable
class StateTranslator(Protocol):
    """A callback that changes the names in a module's state during a fit, such as one that inserts adapters."""

    def exported_state(self, pl_module: LightningModule, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """A state of the module under the names from before the fit."""


def exported_state(trainer: Trainer, pl_module: LightningModule, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """A state of the module under the names that it has outside the fit and without compilers."""
    for translator in (callback for callback in all_callbacks(trainer) if isinstance(callback, StateTranslator)):
        state = translator.exported_state(pl_module, state)
    return {exported_name(name): tensor for name, tensor in state.items()}


def exported_name(name: str) -> str:
    """A name without the wrapper that `torch.compile(net)` puts around a net; `net.compile()` puts none."""
    return ".".join(part for part in name.split(".") if part != "_orig_mod")
