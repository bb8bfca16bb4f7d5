"""A mean over an epoch that costs a training step almost nothing."""

import math

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

_FLUSH = 256  # pending scalars; each occupies a block of device memory


class EpochMean(nn.Module):
    """The weighted mean of a scalar over an epoch and over all processes.

    `torchmetrics.MeanMetric` with its updates put together: updating it at every step costs a tenth of a small net's
    training step, so values wait in a list and are handed over many at a time.
    """

    def __init__(self) -> None:
        super().__init__()
        # A NaN is replaced by a NaN: it must show. ("disable" would say so plainly, but torchmetrics 1.9 then drops the
        # weights: https://github.com/Lightning-AI/torchmetrics, MeanMetric._cast_and_nan_check_input.)
        self.metric = MeanMetric(nan_strategy=math.nan)
        self._values: list[Tensor] = []
        self._weights: list[Tensor | float] = []

    def update(self, value: Tensor, weight: Tensor | float) -> None:
        """Adds a scalar value that stands for `weight` samples."""
        self._values.append(value.detach())
        self._weights.append(weight)
        if len(self._values) >= _FLUSH:
            self._flush()

    def complete(self) -> MeanMetric:
        """The metric with all values in it, for `LightningModule.log`, which resets it at the epoch's end."""
        if self._values:
            self._flush()
        return self.metric

    def _flush(self) -> None:
        values = torch.stack(self._values).float()  # in half precision the weights would be rounded as well
        weights = [torch.as_tensor(weight, dtype=values.dtype, device=values.device) for weight in self._weights]
        self.metric.update(values, torch.stack(weights))
        self._values, self._weights = [], []
