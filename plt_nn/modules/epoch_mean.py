"""A mean over an epoch, at almost no cost to a training step."""

import math

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

_FLUSH = 256  # pending scalars; each occupies a block of device memory


class EpochMean(nn.Module):
    """The weighted mean of a scalar over an epoch and over all processes.

    `torchmetrics.MeanMetric` with batched updates: an update at every step costs a tenth of a small net's training
    step, so values wait in a list and are added many at a time.

    Attributes:
        epoch: The epoch of sums that came from a checkpoint, until training continues.
    """

    def __init__(self) -> None:
        super().__init__()
        self.epoch: int | None = None
        # A NaN is replaced by a NaN, because it must show. ("disable" would be plainer, but torchmetrics 1.9 then drops
        # the weights: https://github.com/Lightning-AI/torchmetrics, MeanMetric._cast_and_nan_check_input.)
        self.metric = MeanMetric(nan_strategy=math.nan)
        self._values: list[Tensor] = []
        self._weights: list[Tensor | float] = []
        self._batches: list[int] = []

    def update(self, value: Tensor, weight: Tensor | float, batch: int = 0) -> None:
        """Adds a scalar value of a batch, given by its number, that stands for `weight` samples."""
        if len(self._values) >= _FLUSH:  # before it is added: the last batch may have to be taken back
            self._flush()
        self._values.append(value.detach())
        self._weights.append(weight)
        self._batches.append(batch)

    def complete(self) -> MeanMetric:
        """The metric with all values in it, for `LightningModule.log`, which resets it at the epoch's end."""
        if self._values:
            self._flush()
        return self.metric

    def reset(self) -> None:
        """Forgets everything."""
        self.metric.reset()
        self._values, self._weights, self._batches = [], [], []

    def sums(self, batches: int) -> Tensor:
        """The sums of this process over the epoch's first batches, for a checkpoint.

        Waiting values are listed separately, because the order of additions decides the last bits of a sum.

        Args:
            batches: How many have been trained on; one that is being trained on does not count.

        Returns:
            float32 `(rows, 2)`: the sum of weighted values and of weights, then each waiting value with its weight.
        """
        state = [self.metric.mean_value, self.metric.weight]
        rows = [torch.stack([torch.as_tensor(number, dtype=torch.float32) for number in state]).unsqueeze(0)]
        if self._values:
            done = sum(batch < batches for batch in self._batches)
            rows.append(torch.stack(self._waiting(), dim=1)[:done])
        return torch.cat(rows).cpu()

    def add_sums(self, sums: Tensor) -> None:
        """Adds what `sums` has returned.

        Args:
            sums: float32 `(rows, 2)`.
        """
        (total, weight), *waiting = sums.tolist()
        if weight != 0:
            before = self.metric.weight.clone()
            self.metric.update(total, 1.0)
            self.metric.weight = before + weight
        for value, weight in waiting:
            self.update(torch.tensor(value), weight, batch=-1)

    def _flush(self) -> None:
        self.metric.update(*self._waiting())
        self._values, self._weights, self._batches = [], [], []

    def _waiting(self) -> tuple[Tensor, Tensor]:
        device = self.metric.device  # values from a checkpoint were made before the module was moved there
        values = torch.stack([value.to(device) for value in self._values])
        values = values.float()  # in half precision the weights would be rounded as well
        weights = [torch.as_tensor(weight, dtype=values.dtype, device=device) for weight in self._weights]
        return values, torch.stack(weights)
