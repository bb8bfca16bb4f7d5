"""Stores the channels of a pixel side by side in memory, for nets of convolutions."""

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn

from plt_nn.errors import ConfigError


class ChannelsLast(Callback):
    """Converts the weights of convolutions to the memory format `channels_last`; activations follow them.

    Values, names and shapes, checkpoints and the deployable model do not change. Sums are rounded differently, so
    losses differ in their last bits from those of a fit without it. Features are cached for each format separately. A
    net whose code calls `view` on feature maps may refuse the format, with an error of torch's that mentions `reshape`.
    See https://pytorch.org/tutorials/intermediate/memory_format_tutorial.html.

    Whether it is faster depends on the net and the machine. On a CPU a training step of an EfficientNet-Lite0 or a
    MobileNetV3 took 0.6 to 0.7 of the time, of a ResNet18 or a ConvNeXt the same time, and of a ResNet50 in bf16-mixed
    0.7. `tests/benchmarks/training_steps.py` prints it for any net.

    Raises:
        ConfigError: If the module has no convolutions over images when it is set up.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Converts the weights, before they are wrapped for several processes."""
        if channels_last(pl_module) == 0:
            raise ConfigError(
                f"ChannelsLast: {type(pl_module).__name__} has no convolutions over images (weights of 4 dimensions) "
                "that this could speed up. Leave the callback out, or make the net in `__init__`."
            )


def channels_last(module: nn.Module) -> int:
    """Converts weights of four dimensions to the memory format `channels_last`, in place; returns their number."""
    weights = [parameter for parameter in module.parameters() if parameter.ndim == 4]
    for weight in weights:
        weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    return len(weights)
