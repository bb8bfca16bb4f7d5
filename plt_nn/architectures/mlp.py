"""The multilayer perceptron."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import nn

from plt_nn.architectures.activations import create_activation
from plt_nn.architectures.checks import check_arguments
from plt_nn.architectures.initialisation import initialise
from plt_nn.architectures.normalisation import Norm, create_norm


class MLP(nn.Sequential):
    """A multilayer perceptron: hidden layers of linear, normalisation, activation and dropout, then a linear head.

    It is a flat `nn.Sequential` of exactly these layers, so it is as fast as the same layers written by hand, and the
    same seed gives the same weights. (`torchvision.ops.MLP` always adds dropout, even after the output.) Layers are
    named `linear0`, `norm0`, `activation0`, `dropout0`, `linear1`, ..., `head`.

    Input: `(N, in_features)`, or anything that flattens to it if `flatten`. Output: `(N, out_features)`.

    Args:
        in_features: Number of input features; with `flatten`, of all features of a sample (channels * height * width).
        hidden: Widths of the hidden layers; an empty list gives a linear model.
        out_features: Number of classes or targets.
        activation: An elementwise activation of `torch.nn` by name. Default: `ReLU`.
        norm: `batch`, `group`, `layer`, or None (default) for no normalisation.
        dropout: Probability that a hidden unit is dropped. Default: 0.
        bias: Whether the linear layers have a bias. Default: True.
        flatten: Whether to flatten each sample first, for images. Default: False.
        init: Name of a weight initialisation, see `initialise`; None (default) keeps torch's.
        activation_kwargs: Arguments of the activation, such as `{negative_slope: 0.2}`.
        init_kwargs: Arguments of the initialisation, such as `{std: 0.01}`.

    Raises:
        ConfigError: If an argument cannot be used; all faults are reported together.
    """

    head: nn.Linear

    def __init__(
        self,
        in_features: int,
        hidden: Sequence[int],
        out_features: int,
        activation: str = "ReLU",
        norm: Norm | None = None,
        dropout: float = 0.0,
        bias: bool = True,
        flatten: bool = False,
        init: str | None = None,
        activation_kwargs: dict[str, Any] | None = None,
        init_kwargs: dict[str, Any] | None = None,
    ) -> None:
        act = partial(create_activation, activation, **(activation_kwargs or {}))
        check_arguments(MLP, locals())
        super().__init__()
        if flatten:
            self.add_module("flatten", nn.Flatten())
        for index, width in enumerate(hidden):
            self.add_module(f"linear{index}", nn.Linear(in_features, width, bias))
            if norm is not None:
                self.add_module(f"norm{index}", create_norm(norm, width))
            self.add_module(f"activation{index}", act())
            if dropout > 0:
                self.add_module(f"dropout{index}", nn.Dropout(dropout))
            in_features = width
        self.head = nn.Linear(in_features, out_features, bias)
        initialise(self, init, act(), **(init_kwargs or {}))
