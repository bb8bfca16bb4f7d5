"""A mean over an epoch, at almost no cost to a training step, and in checkpoints made in the middle of an epoch."""

import math
import sys
from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException
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
        """Adds what `sums` has returned."""
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


_KEY = "epoch_means"


def save_means(module: LightningModule, checkpoint: dict[str, Any]) -> None:
    """Adds the sums of a module's `EpochMean`s on each process to a checkpoint, for `on_save_checkpoint`."""
    progress: Any = module.trainer.fit_loop.epoch_loop.batch_progress.current
    mine = {name: mean.sums(progress.processed) for name, mean in means_of(module).items()}
    checkpoint[_KEY] = {"epoch": module.current_epoch, "processes": _of_all_processes(mine, module.trainer)}


def load_means(module: LightningModule, checkpoint: Mapping[str, Any]) -> None:
    """Restores the sums from a checkpoint, for `on_load_checkpoint`; does nothing unless a fit is resumed.

    With the same number of processes each gets its own sums; with another number the sums are shared out, and some
    processes may get none.
    """
    if _KEY not in checkpoint:
        return
    try:
        trainer = module.trainer
    except RuntimeError:  # it has none: `load_from_checkpoint`
        return
    if trainer.state.fn != "fit":
        return
    for name, mean in means_of(module).items():
        mean.reset()
        mean.epoch = checkpoint[_KEY]["epoch"]
        for sums in checkpoint[_KEY]["processes"][trainer.global_rank :: trainer.world_size]:
            mean.add_sums(sums[name])


def drop_old_means(module: LightningModule) -> None:
    """Drops sums unless they are of the epoch that continues now, for `on_train_start`.

    They are not if the checkpoint was made at an epoch's end, or if an earlier fit was interrupted.
    """
    for mean in means_of(module).values():
        if mean.epoch != module.current_epoch:
            mean.reset()
        mean.epoch = None


def means_of(module: LightningModule) -> dict[str, EpochMean]:
    """The `EpochMean`s of training that a module holds as attributes, by name, which starts with `train_`."""
    means = {name: child for name, child in module.named_children() if isinstance(child, EpochMean)}
    return {name: mean for name, mean in means.items() if name.startswith("train_")}


def _of_all_processes(mine: dict[str, Tensor], trainer: Trainer) -> list[dict[str, Tensor]]:
    if trainer.world_size == 1 or _may_be_alone(trainer):
        return [mine]
    everyones = [mine] * trainer.world_size
    torch.distributed.all_gather_object(everyones, mine)
    return everyones


def _may_be_alone(trainer: Trainer) -> bool:
    """Whether the checkpoint is for an error that the other processes may not have; SIGTERM ends all of them."""
    return trainer.interrupted and not isinstance(sys.exc_info()[1], SIGTERMException)
