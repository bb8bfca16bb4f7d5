"""What all of our LightningModules do with any net: steps, metrics over epochs, optimizer, checkpoints."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from lightning.pytorch import LightningModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection

from plt_nn.errors import ConfigError, DataError
from plt_nn.modules.epoch_mean import EpochMean, drop_old_means, load_means, means_of, save_means
from plt_nn.modules.optimizers import optimizer_and_scheduler


class SupervisedModule(LightningModule, ABC):
    """Trains any net on batches `(x, y)` or `(x, y, index)`; a subclass says what the loss and the metrics are.

    Attributes:
        task: What it does, in one word.
        prediction: The name of what it predicts, in what the steps return.
        eval_loss: The loss of the validation or test that `setup` has prepared.
        eval_metrics: Its metrics, named with the prefix `val_` or `test_`.
    """

    task: ClassVar[str]
    prediction: ClassVar[str]
    eval_loss: EpochMean
    eval_metrics: MetricCollection

    def __init__(
        self,
        net: nn.Module,
        optimizer: OptimizerCallable,
        lr_scheduler: LRSchedulerCallable | None,
        lr_interval: Literal["epoch", "step"],
    ) -> None:
        super().__init__()
        self.net = net
        self._optimizer, self._lr_scheduler, self._lr_interval = optimizer, lr_scheduler, lr_interval
        self.train_loss = EpochMean()

    @abstractmethod
    def batch_loss(self, output: Tensor, y: Tensor) -> tuple[Tensor, Tensor | float]:
        """The mean loss of a batch, and the weight of this mean in the mean over an epoch."""

    def predictions(self, output: Tensor) -> Tensor:
        """The predictions that an output of the net stands for: the output itself, unless a subclass says otherwise."""
        return output

    def train_metrics(self, output: Tensor, y: Tensor) -> Mapping[str, Tensor]:
        """Metrics of a training batch besides the loss, each with the name of an `EpochMean` of this module."""
        return {}

    @abstractmethod
    def new_metrics(self) -> dict[str, Metric | MetricCollection]:
        """New metrics of predictions and targets for a validation or a test, by name."""

    def setup(self, stage: str) -> None:
        """Makes the metrics of the stage."""
        self.eval_loss = EpochMean()
        self.eval_metrics = MetricCollection(self.new_metrics(), prefix="test_" if stage == "test" else "val_")

    def forward(self, x: Any) -> Tensor:
        """The net's output for a batch's inputs; a tuple, such as padded sequences and their lengths, is unpacked.

        Raises:
            ConfigError: If the net returns anything but one tensor.
        """
        output = self.net(*x) if isinstance(x, tuple | list) else self.net(x)
        if not isinstance(output, Tensor):
            raise ConfigError(
                f"{type(self.net).__name__} returned a {type(output).__name__}; expected one tensor. Wrap the net in a "
                "module whose forward returns only the output."
            )
        return output

    def on_train_start(self) -> None:
        """Drops the training metrics of an epoch that does not continue."""
        drop_old_means(self)

    def training_step(self, batch: object, batch_idx: int) -> Tensor:
        """The loss of a batch."""
        x, y, _ = unpack_batch(batch)
        output = self(x)
        loss, weight = self.batch_loss(output, y)
        self.train_loss.update(loss, weight, batch_idx)
        for name, value in self.train_metrics(output.detach(), y).items():
            getattr(self, name).update(value, float(len(y)), batch_idx)
        return loss

    def on_train_epoch_end(self) -> None:
        """Logs the epoch's training metrics."""
        for name, mean in means_of(self).items():
            self.log(name, mean.complete(), prog_bar=name == "train_loss")

    def validation_step(self, batch: object, batch_idx: int) -> dict[str, Tensor | None]:
        """Adds a batch to the validation metrics.

        Returns:
            The predictions `(N, ...)`, `y` `(N, ...)` and the samples' `index` `(N,)`, for callbacks; Lightning does
            not store them.
        """
        x, y, index = unpack_batch(batch)
        output = self(x)
        predicted = self.predictions(output)
        self.eval_loss.update(*self.batch_loss(output, y))
        self.eval_metrics.update(predicted, y)
        return {self.prediction: predicted, "y": y, "index": index}

    def on_validation_epoch_end(self) -> None:
        """Logs the metrics of the validation or test; Lightning computes them over all processes and resets them."""
        self.log(f"{self.eval_metrics.prefix}loss", self.eval_loss.complete(), prog_bar=True)
        for name, metric in self.eval_metrics.items():
            self.log(name, metric, prog_bar=name.endswith(("_acc", "_r2")))

    def test_step(self, batch: object, batch_idx: int) -> None:
        """Adds a batch to the test metrics."""
        self.validation_step(batch, batch_idx)

    def on_test_epoch_end(self) -> None:
        """Logs the test metrics."""
        self.on_validation_epoch_end()

    def predict_step(self, batch: object, batch_idx: int) -> dict[str, Tensor | None]:
        """The predictions `(N, ...)` and the samples' indices `(N,)`."""
        x, _, index = unpack_batch(batch)
        return {"index": index, self.prediction: self.predictions(self(x))}

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """All parameters in one optimizer, frozen or not."""
        return optimizer_and_scheduler(self.net, self._optimizer, self._lr_scheduler, self._lr_interval)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the training metrics of the epoch so far."""
        save_means(self, checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes the training metrics of the epoch so far."""
        load_means(self, checkpoint)


def unpack_batch(batch: object) -> tuple[Any, Tensor, Tensor | None]:
    """A batch's inputs, targets and sample indices, from `(x, y)` or `(x, y, index)`; without indices None.

    Raises:
        DataError: For anything else.
    """
    if isinstance(batch, Sequence) and len(batch) in (2, 3):
        x, y, *rest = batch
        if isinstance(y, Tensor):
            return x, y, rest[0] if rest else None
    raise DataError(f"A batch is a {type(batch).__name__}; expected a tuple (x, y) or (x, y, index) with y a tensor.")
