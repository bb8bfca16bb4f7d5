"""What `configure_optimizers` of our modules returns."""

from collections.abc import Iterable
from typing import Literal

from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable, ReduceLROnPlateau
from lightning.pytorch.utilities.types import LRSchedulerConfigType, OptimizerLRScheduler
from torch import nn
from torch.nn import Parameter
from torch.optim import AdamW, Optimizer

from plt_nn.freezing.groups import split_groups


def optimizer_and_scheduler(
    module: nn.Module,
    optimizer: OptimizerCallable,
    lr_scheduler: LRSchedulerCallable | None,
    lr_interval: Literal["epoch", "step"],
) -> OptimizerLRScheduler:
    """An optimizer over all parameters, and its scheduler if there is one.

    Vectors and scalars (biases, the scale and shift of norms) get no weight decay, as in timm's recipes. Parameters
    are taken whether they require gradients now or not; the other arguments are those of `Classifier`.
    """
    made = optimizer(module.parameters())
    if made.defaults.get("weight_decay"):
        split_groups(made, [], lambda parameter: "decay" if parameter.ndim > 1 else "no_decay", key="decay")
        for group in made.param_groups:
            group["weight_decay"] = group["weight_decay"] if group["decay"] == "decay" else 0.0
    if lr_scheduler is None:
        return made
    scheduler = lr_scheduler(made)
    config: LRSchedulerConfigType = {"scheduler": scheduler, "interval": lr_interval}
    if isinstance(scheduler, ReduceLROnPlateau):
        config["monitor"] = scheduler.monitor
    return {"optimizer": made, "lr_scheduler": config}


def adamw(parameters: Iterable[Parameter]) -> Optimizer:
    """The default optimizer: AdamW with learning rate 1e-3."""
    return AdamW(parameters, lr=1e-3)
