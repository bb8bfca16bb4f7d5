"""Whether the training loss is still finite, at almost no cost to a step."""

from typing import Any

from lightning.pytorch import Trainer
from torch import Tensor

from plt_nn.errors import TrainingError

_READ_EVERY = 50  # steps


class TrainingLoss:
    """The sum of the training losses since it was last read.

    It is summed on the device and read only now and then, because reading waits for the device. A sum that is not
    finite stays so.
    """

    def __init__(self) -> None:
        self._sum: Tensor | None = None

    def after_step(self, outputs: Any, trainer: Trainer) -> float | None:
        """Adds what a training step has returned; every so often returns the sum, the mean over all processes."""
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if not isinstance(loss, Tensor):
            return None
        self._sum = loss.detach() if self._sum is None else self._sum + loss.detach()
        if trainer.global_step % _READ_EVERY != 0:
            return None
        total = float(trainer.strategy.reduce(self._sum.clone(), reduce_op="mean"))
        self._sum = None
        return total


def not_finite_error(what: str) -> TrainingError:
    """The error for a value that is not finite before there are any best weights to stop with."""
    return TrainingError(
        f"Training stops: {what}, before there was any best to keep. A lower learning rate, gradient clipping, or a "
        "look at the data for values that are not finite usually mends it."
    )
