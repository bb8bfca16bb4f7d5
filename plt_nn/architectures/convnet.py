"""A plain convolutional net."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, Literal

from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation

from plt_nn.architectures.activations import create_activation
from plt_nn.architectures.checks import check_arguments
from plt_nn.architectures.initialisation import initialise
from plt_nn.architectures.normalisation import Norm, create_norm

Pooling = Literal["max", "average"]


class ConvNet(nn.Module):
    """Blocks of convolution, normalisation, activation and pooling; then the mean over all pixels and a linear head.

    Each block halves the image, rounding up, so images of any size work, down to one pixel.

    Input: `(N, in_channels, H, W)`. Output: `(N, out_features)`. Parts in order: `blocks.0`, `blocks.1`, ..., `head`.

    Args:
        in_channels: Number of channels of the images.
        channels: Number of output channels of each block.
        out_features: Number of classes or targets.
        kernel_size: Height and width of the convolutions in pixels, an odd number. Default: 3.
        pooling: `max` (default) or `average`, over 2 by 2 pixels.
        norm: `batch` (default), `group`, `layer`, or None for no normalisation.
        activation: An elementwise activation of `torch.nn` by name. Default: `ReLU`.
        dropout: Probability that an input of the head is dropped. Default: 0.
        init: Name of a weight initialisation, see `initialise`; None (default) keeps torch's.
        activation_kwargs: Arguments of the activation, such as `{negative_slope: 0.2}`.
        init_kwargs: Arguments of the initialisation, such as `{std: 0.01}`.

    Raises:
        ConfigError: If an argument cannot be used; all faults are reported together.
    """

    def __init__(
        self,
        in_channels: int,
        channels: Sequence[int],
        out_features: int,
        kernel_size: int = 3,
        pooling: Pooling = "max",
        norm: Norm | None = "batch",
        activation: str = "ReLU",
        dropout: float = 0.0,
        init: str | None = None,
        activation_kwargs: dict[str, Any] | None = None,
        init_kwargs: dict[str, Any] | None = None,
    ) -> None:
        act = partial(create_activation, activation, **(activation_kwargs or {}))
        check_arguments(
            ConvNet,
            locals(),
            (lambda: len(channels) > 0, "channels is empty; expected at least one number"),
            (
                lambda: kernel_size % 2 == 1,
                f"kernel_size is {kernel_size}; expected an odd number, so that convolutions keep the image's size",
            ),
        )
        super().__init__()
        convolution = partial(
            Conv2dNormActivation,
            kernel_size=kernel_size,
            norm_layer=None if norm is None else partial(create_norm, norm, images=True),
            activation_layer=act,
            inplace=None,
        )
        self.blocks = nn.Sequential()
        for inputs, outputs in pairwise([in_channels, *channels]):
            pool = _POOLS[pooling](2, ceil_mode=True)
            self.blocks.append(nn.Sequential(OrderedDict(conv=convolution(inputs, outputs), pool=pool)))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels[-1], out_features)
        initialise(self, init, act(), **(init_kwargs or {}))

    def forward(self, x: Tensor) -> Tensor:
        """Map images `(N, in_channels, H, W)` to outputs `(N, out_features)`."""
        x = self.pool(self.blocks(x)).flatten(1)
        out: Tensor = self.head(self.dropout(x))
        return out


_POOLS: dict[Pooling, Callable[..., nn.Module]] = {"average": nn.AvgPool2d, "max": nn.MaxPool2d}
