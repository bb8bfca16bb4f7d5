"""Starts from weights in a safetensors file."""

from collections.abc import Mapping
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from plt_nn.callbacks.plain_state import inserted_state
from plt_nn.errors import WeightsError


class LoadWeights(Callback):
    """Loads a LightningModule's weights from a safetensors file, such as the `best.safetensors` of a run.

    They are loaded when the module is complete, just before fitting, validating, testing or predicting begins.

    Args:
        path: The file.

    Raises:
        WeightsError: If the file is missing, is not safetensors, or does not fit the module.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Loads the weights to train on from."""
        load_weights(pl_module, self.path, trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Loads the weights to validate."""
        if trainer.state.fn != "fit":
            load_weights(pl_module, self.path)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Loads the weights to test."""
        load_weights(pl_module, self.path)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Loads the weights to predict with."""
        load_weights(pl_module, self.path)


def load_weights(module: LightningModule, path: Path, trainer: Trainer | None = None) -> None:
    """Loads all of a module's weights from a safetensors file.

    Args:
        module: The module.
        path: The file.
        trainer: The trainer that fits the module just now, if one does: its callbacks may have put adapters into it.

    Raises:
        WeightsError: If the file is missing, is not safetensors, or does not fit the module.
    """
    try:
        state: Mapping[str, Tensor] = load_file(path)
    except FileNotFoundError as error:
        raise WeightsError(f"There is no file {path}.") from error
    except SafetensorError as error:
        raise WeightsError(f"{path} is not a safetensors file: {error}.") from error
    if trainer is not None:
        state = inserted_state(trainer, module, state)
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        lines = str(error).splitlines()
        raise WeightsError(f"{path} does not fit this {type(module).__name__}:\n" + "\n".join(lines[1:11])) from error
