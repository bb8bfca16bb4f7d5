"""The weights that validation has measured, where Lightning's WeightAveraging measures others than it trains."""

from collections.abc import Iterator
from contextlib import contextmanager

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging


@contextmanager
def measured_weights(trainer: Trainer, pl_module: LightningModule) -> Iterator[None]:
    """The module holds the weights that the validation before has measured, for the time of the context.

    `WeightAveraging` (and `EMAWeightAveraging`) puts the averaged weights into the module for the validation alone.

    Args:
        trainer: The trainer.
        pl_module: The module that it trains.
    """
    callbacks: list[object] = getattr(trainer, "callbacks", [])
    averaging = [c for c in callbacks if isinstance(c, WeightAveraging) and c._average_model is not None]
    for callback in averaging:
        callback._swap_models(pl_module)
    try:
        yield
    finally:
        for callback in averaging:
            callback._swap_models(pl_module)
