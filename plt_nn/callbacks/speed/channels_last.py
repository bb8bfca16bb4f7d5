"""Lets a net of convolutions compute with the channels of a pixel side by side in memory."""

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn

from plt_nn.errors import ConfigError


class ChannelsLast(Callback):
    """Brings the weights of convolutions into the memory format `channels_last`; what they compute follows them.

    Values stay what they were, and so do names and shapes, checkpoints and the deployable model; sums are rounded
    otherwise, so that losses differ in their last bits from those of a fit without it. Features of a frozen part are
    kept for each format apart. A net whose code calls `view` on feature maps may refuse the format, with an error of
    torch's that names `reshape`. See https://pytorch.org/tutorials/intermediate/memory_format_tutorial.html.

    Whether it pays hangs on the net and on the machine. On a CPU a training step of an EfficientNet-Lite0 or of a
    MobileNetV3 took 0.6 to 0.7 of the time, that of a ResNet18 or of a ConvNeXt the same, and a ResNet50's in
    bf16-mixed 0.7: `tests/benchmarks/training_steps.py` prints it for any net.

    Raises:
        ConfigError: If the module has no convolutions over images when it is set up.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Brings the weights into the format, before they are wrapped for several processes."""
        if channels_last(pl_module) == 0:
            raise ConfigError(
                f"ChannelsLast: {type(pl_module).__name__} has no convolutions over images (weights of 4 dimensions) "
                "that this could be of use to. Leave the callback out, or make the net in `__init__`."
            )


def channels_last(module: nn.Module) -> int:
    """Brings the weights with four dimensions into the memory format `channels_last`, in place; says how many.

    Args:
        module: Any module.
    """
    weights = [parameter for parameter in module.parameters() if parameter.ndim == 4]
    for weight in weights:
        weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    return len(weights)
