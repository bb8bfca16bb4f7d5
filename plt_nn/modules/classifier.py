"""A LightningModule that classifies with any net."""

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassCalibrationError, MulticlassF1Score

from plt_nn.backbones import backbone_info, set_num_classes
from plt_nn.errors import ConfigError
from plt_nn.modules.epoch_mean import EpochMean
from plt_nn.modules.optimizers import adamw
from plt_nn.modules.supervised import SupervisedModule


class Classifier(SupervisedModule):
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

    Example:
        >>> import torch
        >>> from plt_nn import Classifier
        >>> module = Classifier(torch.nn.Linear(2, 3), num_classes=3, label_smoothing=0.1)
        >>> images, labels = torch.zeros(4, 2), torch.tensor([0, 1, 2, 0])
        >>> module.training_step((images, labels), 0).shape
        torch.Size([])
        >>> module.predict_step((images, labels), 0)["probabilities"].shape
        torch.Size([4, 3])
    """

    task: ClassVar = "classification"
    prediction: ClassVar = "probabilities"
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
        super().__init__(net, optimizer, lr_scheduler, lr_interval)
        if not 0 <= label_smoothing < 1:
            raise ConfigError(f"label_smoothing is {label_smoothing}; expected at least 0 and below 1.")
        if num_classes is not None and num_classes < 1:
            raise ConfigError(f"num_classes is {num_classes}; expected at least 1, or none to take the data's.")
        self.save_hyperparameters(ignore=["net", "optimizer", "lr_scheduler"])
        self.num_classes = num_classes
        self.label_smoothing = label_smoothing
        self.register_buffer("class_weights", torch.tensor(class_weights) if class_weights else None, persistent=False)
        self.train_acc = EpochMean()

    def setup(self, stage: str) -> None:
        """Determines the number of classes, and with it the net's head and the metrics."""
        in_data = getattr(getattr(self.trainer, "datamodule", None), "num_classes", None)
        classes = _agreed_classes(self.num_classes, in_data, self.net, self.class_weights)
        if self.num_classes is None:
            info = backbone_info(self.net)
            if info is not None and not info.num_classes_given:
                set_num_classes(self.net, classes)
            self.num_classes = classes
        super().setup(stage)

    def batch_loss(self, output: Tensor, y: Tensor) -> tuple[Tensor, Tensor | float]:
        """The cross-entropy of a batch of logits, and the number of samples or the sum of their classes' weights."""
        if output.ndim != 2 or output.shape[1] != self.num_classes:
            raise ConfigError(
                f"The net's output has shape {tuple(output.shape)}, but there are {self.num_classes} classes; expected "
                f"({len(y)}, {self.num_classes}). Make the net with as many outputs as there are classes."
            )
        weights = self.class_weights
        loss = F.cross_entropy(output, y, weights, label_smoothing=self.label_smoothing)
        return loss, float(len(y)) if weights is None else weights[y].sum()

    def predictions(self, output: Tensor) -> Tensor:
        """The probabilities, of shape `(N, num_classes)`."""
        return output.softmax(1)

    def train_metrics(self, output: Tensor, y: Tensor) -> Mapping[str, Tensor]:
        """The accuracy."""
        return {"train_acc": (output.argmax(1) == y).float().mean()}

    def new_metrics(self) -> dict[str, Metric | MetricCollection]:
        """Accuracy, macro F1 and expected calibration error."""
        assert self.num_classes is not None, "setup has not run"
        return {
            "acc": MulticlassAccuracy(self.num_classes, average="micro", validate_args=False),
            "f1": MulticlassF1Score(self.num_classes, average="macro", validate_args=False),
            "ece": MulticlassCalibrationError(self.num_classes, validate_args=False),
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
