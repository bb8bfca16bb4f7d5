"""Loads weights from a safetensors file."""

from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer
from safetensors import SafetensorError
from safetensors.torch import load_file

from plt_nn.callbacks.model.exported_state import exported_name
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
        """Loads the weights to start from; a resumed run uses those of its checkpoint."""
        if trainer.ckpt_path is None:
            load_safetensors(pl_module, self.path)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Loads the weights to validate, test or predict with."""
        if trainer.state.fn != "fit":
            load_safetensors(pl_module, self.path)

    on_test_start = on_predict_start = on_validation_start


def load_safetensors(module: LightningModule, path: Path) -> None:
    """Loads all of a module's weights from a safetensors file.

    Raises:
        WeightsError: If the file is missing, is not safetensors, or does not fit the module.
    """
    try:
        state = load_file(path)
    except FileNotFoundError as error:
        raise WeightsError(f"There is no file {path}.") from error
    except SafetensorError as error:
        raise WeightsError(f"{path} is not a safetensors file: {error}.") from error
    names = {exported_name(name): name for name in module.state_dict()}  # a compiled net has other names than the file
    try:
        module.load_state_dict({names.get(exported_name(name), name): tensor for name, tensor in state.items()})
    except RuntimeError as error:
        lines = str(error).splitlines()
        raise WeightsError(f"{path} does not fit this {type(module).__name__}:\n" + "\n".join(lines[1:11])) from error
