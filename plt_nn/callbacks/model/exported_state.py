"""The module's state under the names it has without what a callback or a compiler has put into it."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from plt_nn.callbacks.lightning.callback_order import all_callbacks


@runtime_checkable
class StateTranslator(Protocol):
    """A callback that changes the names of a module's state while it is fitted, as one that inserts adapters does."""

    def exported_state(self, pl_module: LightningModule, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """A state of the module as it is now, under the names of the module as it was."""


def exported_state(trainer: Trainer, pl_module: LightningModule, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """A state of the module, under the names that the module has outside the fit, and if it is not compiled."""
    for translator in (callback for callback in all_callbacks(trainer) if isinstance(callback, StateTranslator)):
        state = translator.exported_state(pl_module, state)
    return {exported_name(name): tensor for name, tensor in state.items()}


def exported_name(name: str) -> str:
    """A name without the wrapper that `torch.compile(net)` puts around a net; `net.compile()` puts none."""
    return ".".join(part for part in name.split(".") if part != "_orig_mod")
