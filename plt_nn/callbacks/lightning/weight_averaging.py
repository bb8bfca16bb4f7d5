"""Lightning's WeightAveraging: the weights that validation has measured, and the averages of what is frozen."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor

from plt_nn.callbacks.lightning.callback_order import callbacks_of


@contextmanager
def measured_weights(trainer: Trainer, pl_module: LightningModule) -> Iterator[None]:
    """Lets the module hold, within the context, the weights that the last validation has measured.

    `WeightAveraging` (and `EMAWeightAveraging`) puts the averaged weights into the module for the validation alone.
    """
    averaging = _averaging(trainer)
    for callback in averaging:
        callback._swap_models(pl_module)
    try:
        yield
    finally:
        for callback in averaging:
            callback._swap_models(pl_module)


def correct_frozen_averages(trainer: Trainer, frozen: Mapping[str, Tensor]) -> None:
    """Sets the averages of frozen tensors, by their names in the module, to the tensors themselves.

    The average of a constant equals it up to rounding, and rounding errors add up over the steps.
    """
    for callback in _averaging(trainer):
        assert callback._average_model is not None
        averages = callback._average_model.module.state_dict()
        with torch.no_grad():
            for name, tensor in frozen.items():
                averages[name].copy_(tensor)


def _averaging(trainer: Trainer) -> list[WeightAveraging]:
    return [callback for callback in callbacks_of(trainer, WeightAveraging) if callback._average_model is not None]
