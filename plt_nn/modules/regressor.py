"""A LightningModule that predicts numbers with any net."""

from collections.abc import Callable
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torchmetrics import MeanAbsoluteError, Metric, MetricCollection, R2Score

from plt_nn.errors import ConfigError, DataError, did_you_mean
from plt_nn.modules.optimizers import adamw
from plt_nn.modules.supervised import SupervisedModule

_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"mse": F.mse_loss, "mae": F.l1_loss, "huber": F.huber_loss}


class Regressor(SupervisedModule):
    """Predicts numbers with any net that maps a batch to outputs of the targets' shape, `(N, targets)`.

    Batches are `(x, y)` or `(x, y, index)` with `y` of shape `(N, targets)`.

    Logs at every epoch: `train_loss`; `val_loss`, `val_mae`, `val_r2` (coefficient of determination, the mean over the
    targets); the same with `test_`. All are means over samples, not batches, and over all processes.

    Args:
        net: The net.
        loss: `mse` (mean squared error), `mae` (mean absolute error) or `huber` (Huber 1964, threshold 1).
        optimizer: Makes the optimizer from the parameters; vectors (biases, norms) get no weight decay. Default: AdamW
            with learning rate 1e-3.
        lr_scheduler: Makes the learning-rate scheduler from the optimizer.
        lr_interval: Whether the scheduler steps after each `epoch` or each optimizer `step`.

    Raises:
        ConfigError: For an unknown loss.
        DataError: If the net's output has another shape than the targets.

    Example:
        >>> import torch
        >>> from plt_nn import Regressor
        >>> module = Regressor(torch.nn.Linear(2, 1), loss="huber")
        >>> module.training_step((torch.zeros(4, 2), torch.zeros(4, 1)), 0).shape
        torch.Size([])
    """

    task: ClassVar = "regression"
    prediction: ClassVar = "values"

    def __init__(
        self,
        net: nn.Module,
        loss: Literal["mse", "mae", "huber"] = "mse",
        optimizer: OptimizerCallable = adamw,
        lr_scheduler: LRSchedulerCallable | None = None,
        lr_interval: Literal["epoch", "step"] = "epoch",
    ) -> None:
        super().__init__(net, optimizer, lr_scheduler, lr_interval)
        if loss not in _LOSSES:
            raise ConfigError(f"loss is {loss!r}.{did_you_mean(loss, _LOSSES)}")
        self.save_hyperparameters(ignore=["net", "optimizer", "lr_scheduler"])
        self._loss = _LOSSES[loss]

    def batch_loss(self, output: Tensor, y: Tensor) -> tuple[Tensor, float]:
        """The mean loss of a batch, and its number of samples."""
        if output.shape != y.shape:  # broadcasting would silently train on (N, N) differences
            raise DataError(
                f"The net's output has shape {tuple(output.shape)}, the targets have {tuple(y.shape)}; they must be "
                "equal. Make the net with as many outputs as there are targets, and the targets of shape (N, targets)."
            )
        return self._loss(output, y), float(len(y))

    def new_metrics(self) -> dict[str, Metric | MetricCollection]:
        """Mean absolute error and coefficient of determination."""
        return {"mae": MeanAbsoluteError(), "r2": _R2()}


class _R2(R2Score):
    """R2 that is NaN where torchmetrics raises: it is undefined for a single sample, which should not end a run."""

    def compute(self) -> Tensor:
        return super().compute() if self.total > 1 else torch.tensor(torch.nan, device=self.device)
