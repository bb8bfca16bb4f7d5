"""A LightningModule that predicts numbers with any net."""

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torchmetrics import MeanAbsoluteError, R2Score

from plt_nn.errors import ConfigError, DataError, did_you_mean
from plt_nn.modules.batches import apply, unpack_batch
from plt_nn.modules.epoch_mean import EpochMean
from plt_nn.modules.mid_epoch import drop_old_means, load_means, save_means
from plt_nn.modules.optimizers import adamw, optimizer_and_scheduler
from plt_nn.modules.scores import Scores

_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"mse": F.mse_loss, "mae": F.l1_loss, "huber": F.huber_loss}


class Regressor(LightningModule):
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
    """

    task: ClassVar = "regression"

    def __init__(
        self,
        net: nn.Module,
        loss: Literal["mse", "mae", "huber"] = "mse",
        optimizer: OptimizerCallable = adamw,
        lr_scheduler: LRSchedulerCallable | None = None,
        lr_interval: Literal["epoch", "step"] = "epoch",
    ) -> None:
        super().__init__()
        if loss not in _LOSSES:
            raise ConfigError(f"loss is {loss!r}.{did_you_mean(loss, _LOSSES)}")
        self.save_hyperparameters(ignore=["net", "optimizer", "lr_scheduler"])
        self.net = net
        self._loss = _LOSSES[loss]
        self._optimizer, self._lr_scheduler, self._lr_interval = optimizer, lr_scheduler, lr_interval
        self.train_loss = EpochMean()
        self.scores: Scores | None = None

    def setup(self, stage: str) -> None:
        """Makes the metrics of the stage."""
        self.scores = Scores("test" if stage == "test" else "val", {"mae": MeanAbsoluteError(), "r2": _R2()})

    def forward(self, x: Any) -> Tensor:
        """The predictions, of shape `(N, targets)`."""
        return apply(self.net, x)

    def on_train_start(self) -> None:
        """Forgets the training loss of an epoch that does not go on."""
        drop_old_means(self)

    def training_step(self, batch: object, batch_idx: int) -> Tensor:
        """The loss of a batch."""
        _, y, loss = self._losses(batch)
        self.train_loss.update(loss, float(len(y)), batch_idx)
        return loss

    def on_train_epoch_end(self) -> None:
        """Logs the epoch's training loss."""
        self.log("train_loss", self.train_loss.complete(), prog_bar=True)

    def validation_step(self, batch: object, batch_idx: int) -> None:
        """Adds a batch to the validation metrics."""
        self._evaluate(batch)

    def on_validation_epoch_end(self) -> None:
        """Logs the validation metrics."""
        assert self.scores is not None
        self.scores.log_to(self)

    def test_step(self, batch: object, batch_idx: int) -> None:
        """Adds a batch to the test metrics."""
        self._evaluate(batch)

    def on_test_epoch_end(self) -> None:
        """Logs the test metrics."""
        assert self.scores is not None
        self.scores.log_to(self)

    def predict_step(self, batch: object, batch_idx: int) -> dict[str, Tensor | None]:
        """Values of shape `(N, targets)` and the samples' indices of shape `(N,)`."""
        x, _, index = unpack_batch(batch)
        return {"index": index, "values": self(x)}

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """All parameters in one optimizer, frozen or not."""
        return optimizer_and_scheduler(self.net, self._optimizer, self._lr_scheduler, self._lr_interval)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the training loss of the epoch so far."""
        save_means(self, checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes the training loss of the epoch so far."""
        load_means(self, checkpoint)

    def _losses(self, batch: object) -> tuple[Tensor, Tensor, Tensor]:
        x, y, _ = unpack_batch(batch)
        output = self(x)
        if output.shape != y.shape:  # broadcasting would train on (N, N) differences without a word
            raise DataError(
                f"The net's output has shape {tuple(output.shape)}, the targets have {tuple(y.shape)}; they must be "
                "equal. Make the net with as many outputs as there are targets, and the targets of shape (N, targets)."
            )
        return output, y, self._loss(output, y)

    def _evaluate(self, batch: object) -> None:
        assert self.scores is not None, "setup has not run"
        output, y, loss = self._losses(batch)
        self.scores.update(output, y, loss, float(len(y)))


class _R2(R2Score):
    """R2 that is NaN where torchmetrics raises: for a single sample it is not defined, and no reason to stop a run."""

    def compute(self) -> Tensor:
        return super().compute() if self.total > 1 else torch.tensor(torch.nan, device=self.device)
