"""The loss and the metrics of a validation or test run, right over all samples and processes."""

from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection

from plt_nn.modules.epoch_mean import EpochMean


class Scores(nn.Module):
    """The mean loss and a set of metrics of one stage.

    Args:
        stage: `val` or `test`; the prefix of every metric's name.
        metrics: The metrics by name.
    """

    def __init__(self, stage: str, metrics: dict[str, Metric | MetricCollection]) -> None:
        super().__init__()
        self.stage = stage
        self.loss = EpochMean()
        self.metrics = MetricCollection(metrics, prefix=f"{stage}_")

    def update(self, prediction: Tensor, target: Tensor, loss: Tensor, weight: Tensor | float) -> None:
        """Adds a batch: what was predicted, what was right, its mean loss and the weight of that mean."""
        self.loss.update(loss, weight)
        self.metrics.update(prediction, target)

    def log_to(self, module: LightningModule) -> None:
        """Logs everything; Lightning computes it over all processes and resets it."""
        module.log(f"{self.stage}_loss", self.loss.complete(), prog_bar=True)
        for name, metric in self.metrics.items():
            module.log(name, metric, prog_bar=name.endswith(("_acc", "_r2")))
