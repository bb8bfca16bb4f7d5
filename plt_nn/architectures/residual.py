"""A residual convolutional net."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation, StochasticDepth

from plt_nn.architectures.activations import create_activation
from plt_nn.architectures.checks import check_arguments
from plt_nn.architectures.initialisation import initialise
from plt_nn.architectures.normalisation import Norm, create_norm


class ResidualNet(nn.Module):
    """A small ResNet (He et al. 2016, https://arxiv.org/abs/1512.03385) for images of any size.

    A convolutional stem; stages of residual blocks, of which each stage after the first halves the image, rounding up;
    the mean over all pixels; a linear head.

    Input: `(N, in_channels, H, W)`. Output: `(N, out_features)`. Parts in order: `stem`, `blocks.0` (the first stage),
    `blocks.1`, ..., `head`.

    Args:
        in_channels: Number of channels of the images.
        channels: Number of channels of each stage.
        out_features: Number of classes or targets.
        blocks: Number of residual blocks of each stage, or one number for all. Default: 2.
        stem_stride: Factor by which the stem shrinks the image: 1 (default) for images up to about 64 pixels, 4 for
            photographs.
        norm: `batch` (default), `group`, `layer`, or None for no normalisation.
        activation: An elementwise activation of `torch.nn` by name. Default: `ReLU`.
        drop_path: Probability that the last block's branch is skipped for a sample in training; it rises linearly from
            0 at the first block (stochastic depth, Huang et al. 2016, https://arxiv.org/abs/1603.09382). Default: 0.
        dropout: Probability that an input of the head is dropped. Default: 0.
        zero_init: Whether the weight of each branch's last normalisation starts at zero, so that the net starts as its
            shortcuts alone (Goyal et al. 2017, https://arxiv.org/abs/1706.02677). Default: False.
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
        blocks: int | Sequence[int] = 2,
        stem_stride: int = 1,
        norm: Norm | None = "batch",
        activation: str = "ReLU",
        drop_path: float = 0.0,
        dropout: float = 0.0,
        zero_init: bool = False,
        init: str | None = None,
        activation_kwargs: dict[str, Any] | None = None,
        init_kwargs: dict[str, Any] | None = None,
    ) -> None:
        act = partial(create_activation, activation, **(activation_kwargs or {}))
        depths = [blocks] * len(channels) if isinstance(blocks, int) else list(blocks)
        check_arguments(
            ResidualNet,
            locals(),
            (lambda: len(channels) > 0, "channels is empty; expected at least one number"),
            (
                lambda: len(depths) == len(channels),
                f"blocks has {len(depths)} numbers and channels has {len(channels)}; expected one for each stage",
            ),
            (lambda: norm is not None or not zero_init, "zero_init needs a normalisation, but norm is None"),
        )
        super().__init__()
        norm_layer = None if norm is None else partial(create_norm, norm, images=True)
        convolution = partial(Conv2dNormActivation, norm_layer=norm_layer, activation_layer=act, inplace=None)
        block = partial(ResidualBlock, convolution=convolution, activation=act, zero_init=zero_init)
        self.stem = convolution(in_channels, channels[0], max(3, 2 * stem_stride - 1), stem_stride)
        self.blocks = _stages([channels[0], *channels], depths, drop_path, block)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels[-1], out_features)
        initialise(self, init, act(), **(init_kwargs or {}))

    def forward(self, x: Tensor) -> Tensor:
        """Map images `(N, in_channels, H, W)` to outputs `(N, out_features)`."""
        x = self.pool(self.blocks(self.stem(x))).flatten(1)
        out: Tensor = self.head(self.dropout(x))
        return out


class ResidualBlock(nn.Module):
    """Two 3 by 3 convolutions with a shortcut around them: `activation(shortcut(x) + drop_path(branch(x)))`.

    A `stride` of 2 halves the image, rounding up. `convolution` builds a convolution with normalisation and activation,
    as `torchvision.ops.Conv2dNormActivation`. With `zero_init` the weight of the last normalisation starts at zero.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int,
        drop_path: float,
        convolution: Callable[..., nn.Sequential],
        activation: Callable[[], nn.Module],
        zero_init: bool,
    ) -> None:
        super().__init__()
        last = convolution(outputs, outputs, activation_layer=None)
        if zero_init:
            nn.init.zeros_(last[1].get_parameter("weight"))
        self.branch = nn.Sequential(convolution(inputs, outputs, stride=stride), last)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.shortcut = convolution(inputs, outputs, 1, stride, activation_layer=None)
        self.drop_path = StochasticDepth(drop_path, "row") if drop_path > 0 else nn.Identity()
        self.activation = activation()

    def forward(self, x: Tensor) -> Tensor:
        """Map `(N, inputs, H, W)` to `(N, outputs, H / stride, W / stride)`, rounded up."""
        out: Tensor = self.activation(self.shortcut(x) + self.drop_path(self.branch(x)))
        return out


def _stages(
    channels: Sequence[int], depths: Sequence[int], drop_path: float, block: Callable[..., ResidualBlock]
) -> nn.Sequential:
    """Stages of residual blocks; `channels` begins with the stem's."""
    rates = iter(torch.linspace(0, drop_path, sum(depths)).tolist())
    stages = nn.Sequential()
    for depth, (inputs, outputs) in zip(depths, pairwise(channels), strict=True):
        first = block(inputs, outputs, 2 if len(stages) > 0 else 1, next(rates))
        stages.append(nn.Sequential(first, *(block(outputs, outputs, 1, next(rates)) for _ in range(depth - 1))))
    return stages
