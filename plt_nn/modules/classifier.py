"""A LightningModule that classifies with any net."""

from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassCalibrationError, MulticlassF1Score

from plt_nn.backbones import backbone_info, set_num_classes
from plt_nn.errors import ConfigError
from plt_nn.modules.batches import apply, unpack_batch
from plt_nn.modules.epoch_mean import EpochMean
from plt_nn.modules.mid_epoch import drop_old_means, load_means, save_means
from plt_nn.modules.optimizers import adamw, optimizer_and_scheduler
from plt_nn.modules.scores import Scores


class Classifier(LightningModule):
    """Classifies with any net that maps a batch to logits of shape `(N, num_classes)`, by cross-entropy.

    Batches are `(x, y)` or `(x, y, index)` with class indices `y` of shape `(N,)`. A pretrained backbone that was made
    without `num_classes` gets a new head for the classes of the data.

    Logs at every epoch: `train_loss`, `train_acc`; `val_loss`, `val_acc`, `val_f1` (macro), `val_ece` (expected
    calibration error, 15 bins); the same with `test_`. All are means over samples, not batches, and over all processes.

    Args:
        net: The net.
        num_classes: Number of classes. Default: what the data module says, else the outputs of the net's last layer.
        optimizer: Makes the optimizer from the parameters; vectors (biases, norms) get no weight decay. Default: AdamW
            with learning rate 1e-3.
        lr_scheduler: Makes the learning-rate scheduler from the optimizer.
        lr_interval: Whether the scheduler steps after each `epoch` or each optimizer `step`.
        label_smoothing: Share of each target spread over all classes, at least 0 and below 1 (Szegedy et al. 2016,
            https://arxiv.org/abs/1512.00567).
        class_weights: A weight for each class in the loss.

    Raises:
        ConfigError: If `num_classes`, `class_weights`, the net's output and the data disagree.
    """

    task: ClassVar = "classification"
    class_weights: Tensor | None

    def __init__(
        self,
        net: nn.Module,
        num_classes: int | None = None,
        optimizer: OptimizerCallable = adamw,
        lr_scheduler: LRSchedulerCallable | None = None,
        lr_interval: Literal["epoch", "step"] = "epoch",
        label_smoothing: float = 0.0,
        class_weights: list[float] | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise ConfigError(f"label_smoothing is {label_smoothing}; expected at least 0 and below 1.")
        if num_classes is not None and num_classes < 1:
            raise ConfigError(f"num_classes is {num_classes}; expected at least 1, or none to take the data's.")
        self.save_hyperparameters(ignore=["net", "optimizer", "lr_scheduler"])
        self.net = net
        self.num_classes = num_classes
        self.label_smoothing = label_smoothing
        self.register_buffer("class_weights", torch.tensor(class_weights) if class_weights else None, persistent=False)
        self._optimizer, self._lr_scheduler, self._lr_interval = optimizer, lr_scheduler, lr_interval
        self.train_loss, self.train_acc = EpochMean(), EpochMean()
        self.scores: Scores | None = None

    def setup(self, stage: str) -> None:
        """Settles the number of classes, and with it the net's head and the metrics."""
        in_data = getattr(getattr(self.trainer, "datamodule", None), "num_classes", None)
        classes = _agreed_classes(self.num_classes, in_data, self.net, self.class_weights)
        if self.num_classes is None:
            info = backbone_info(self.net)
            if info is not None and not info.num_classes_given:
                set_num_classes(self.net, classes)
            self.num_classes = classes
        self.scores = Scores("test" if stage == "test" else "val", _metrics(classes))

    def forward(self, x: Any) -> Tensor:
        """The logits, of shape `(N, num_classes)`."""
        return apply(self.net, x)

    def on_train_start(self) -> None:
        """Forgets the training metrics of an epoch that does not go on."""
        drop_old_means(self)

    def training_step(self, batch: object, batch_idx: int) -> Tensor:
        """The loss of a batch."""
        logits, y, loss, weight = self._losses(batch)
        self.train_loss.update(loss, weight, batch_idx)
        self.train_acc.update((logits.detach().argmax(1) == y).float().mean(), float(len(y)), batch_idx)
        return loss

    def on_train_epoch_end(self) -> None:
        """Logs the epoch's training metrics."""
        self.log("train_loss", self.train_loss.complete(), prog_bar=True)
        self.log("train_acc", self.train_acc.complete())

    def validation_step(self, batch: object, batch_idx: int) -> dict[str, Tensor | None]:
        """Adds a batch to the validation metrics.

        Returns:
            `probabilities` `(N, num_classes)`, `y` `(N,)` and the samples' `index` `(N,)` for callbacks; Lightning
            does not keep them.
        """
        probabilities, y = self._evaluate(batch)
        return {"probabilities": probabilities, "y": y, "index": unpack_batch(batch)[2]}

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
        """Probabilities of shape `(N, num_classes)` and the samples' indices of shape `(N,)`."""
        x, _, index = unpack_batch(batch)
        return {"index": index, "probabilities": self(x).softmax(1)}

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """All parameters in one optimizer, frozen or not."""
        return optimizer_and_scheduler(self.net, self._optimizer, self._lr_scheduler, self._lr_interval)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the training metrics of the epoch so far."""
        save_means(self, checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes the training metrics of the epoch so far."""
        load_means(self, checkpoint)

    def _losses(self, batch: object) -> tuple[Tensor, Tensor, Tensor, Tensor | float]:
        x, y, _ = unpack_batch(batch)
        logits = self(x)
        if logits.ndim != 2 or logits.shape[1] != self.num_classes:
            raise ConfigError(
                f"The net's output has shape {tuple(logits.shape)}, but there are {self.num_classes} classes; expected "
                f"({len(y)}, {self.num_classes}). Make the net with as many outputs as there are classes."
            )
        weights = self.class_weights
        loss = F.cross_entropy(logits, y, weights, label_smoothing=self.label_smoothing)
        # With class weights a batch's loss is a mean over weights: their sum is what it counts for in the epoch's mean.
        return logits, y, loss, float(len(y)) if weights is None else weights[y].sum()

    def _evaluate(self, batch: object) -> tuple[Tensor, Tensor]:
        assert self.scores is not None, "setup has not run"
        logits, y, loss, weight = self._losses(batch)
        probabilities = logits.softmax(1)
        self.scores.update(probabilities, y, loss, weight)
        return probabilities, y


def _metrics(classes: int) -> dict[str, Metric | MetricCollection]:
    return {
        "acc": MulticlassAccuracy(classes, average="micro", validate_args=False),
        "f1": MulticlassF1Score(classes, average="macro", validate_args=False),
        "ece": MulticlassCalibrationError(classes, validate_args=False),
    }


def _agreed_classes(given: int | None, in_data: int | None, net: nn.Module, weights: Tensor | None) -> int:
    outputs = [module.out_features for module in net.modules() if isinstance(module, nn.Linear)]
    classes = given or in_data or (outputs[-1] if outputs else None)
    if classes is None:
        raise ConfigError("The number of classes is not known from the data or the net; give num_classes.")
    if in_data is not None and classes != in_data:
        raise ConfigError(
            f"num_classes is {classes}, but the data has {in_data} classes. Leave num_classes out to take the data's."
        )
    if weights is not None and len(weights) != classes:
        raise ConfigError(
            f"class_weights has {len(weights)} values, but there are {classes} classes; expected one each."
        )
    return classes
