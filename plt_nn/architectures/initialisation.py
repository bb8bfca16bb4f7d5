"""Initialisation of a whole net's weights by the names of `torch.nn.init`."""

from collections.abc import Callable
from functools import partial
from inspect import signature
from typing import Any, Literal

from torch import Tensor, nn

from plt_nn.errors import ConfigError, did_you_mean


def initialise(module: nn.Module, init: str | None, activation: nn.Module | None = None, **kwargs: Any) -> None:
    """Draw new weights for all linear, convolutional, recurrent and attention layers; set their biases to zero.

    Matrices that torch or timm stack in one tensor (the gates of an LSTM or GRU; query, key and value) are drawn one by
    one, so that each has the fan and the orthogonality of a single matrix. Normalisation layers, embeddings, positions
    and tokens stay unchanged.

    Args:
        module: The net, changed in place.
        init: A key of `INITIALISERS`: the name of a function of `torch.nn.init` without its last underscore. None
            leaves the net unchanged.
        activation: The activation between the layers, for the gain of `xavier_*`, `kaiming_*` and `orthogonal` where
            torch knows one (`torch.nn.init.calculate_gain`); otherwise, and by default, the gain of ReLU for
            `kaiming_*` and 1 for the others.
        **kwargs: Arguments of the function, such as `std` of `normal` (default 0.02) or `gain`; they take precedence.

    Raises:
        ConfigError: If there is no such initialisation, if it does not take these arguments, or if there are arguments
            without an initialisation.
    """
    if init is None:
        if kwargs:
            raise ConfigError(f"arguments {kwargs} need an init.{did_you_mean('', INITIALISERS)}")
        return
    fill = _initialiser(init, activation, **kwargs)
    for name, part in module.named_modules():
        if isinstance(part, _INITIALISED):
            for key, parameter in part.named_parameters(recurse=False):
                if "bias" in key:
                    nn.init.zeros_(parameter)
                else:
                    for matrix in parameter.detach().chunk(_stacked_matrices(part, name, key)):
                        fill(matrix)


def _trunc_normal(tensor: Tensor, std: float = 0.02, a: float = -2.0, b: float = 2.0) -> Tensor:
    """Normal values between `a` and `b` standard deviations; torch's own bounds are absolute and cut nothing."""
    return nn.init.trunc_normal_(tensor, std=std, a=a * std, b=b * std)


# Scales of `uniform` and `normal`: torch's own defaults, U(0, 1) and N(0, 1), are unusable for weights.
INITIALISERS: dict[str, Callable[..., Tensor]] = {
    "kaiming_normal": nn.init.kaiming_normal_,
    "kaiming_uniform": nn.init.kaiming_uniform_,
    "normal": partial(nn.init.normal_, std=0.02),
    "orthogonal": nn.init.orthogonal_,
    "trunc_normal": _trunc_normal,
    "uniform": partial(nn.init.uniform_, a=-0.05, b=0.05),
    "xavier_normal": nn.init.xavier_normal_,
    "xavier_uniform": nn.init.xavier_uniform_,
    "zeros": nn.init.zeros_,
}

_GAIN_NAMES: dict[type, Literal["leaky_relu", "relu", "selu", "sigmoid", "tanh"]] = {
    nn.LeakyReLU: "leaky_relu",
    nn.ReLU: "relu",
    nn.SELU: "selu",
    nn.Sigmoid: "sigmoid",
    nn.Tanh: "tanh",
}

_INITIALISED = (nn.Linear, nn.Bilinear, nn.modules.conv._ConvNd, nn.RNNBase, nn.MultiheadAttention)


def _initialiser(init: str, activation: nn.Module | None = None, **kwargs: Any) -> Callable[[Tensor], Tensor]:
    """The function that fills one weight in place; arguments and errors as in `initialise`."""
    if init not in INITIALISERS:
        raise ConfigError(f"init is {init!r}; expected a function of torch.nn.init.{did_you_mean(init, INITIALISERS)}")
    function = INITIALISERS[init]
    accepted = set(signature(function).parameters) - {"tensor", "generator"}
    for key in kwargs:
        if key not in accepted:
            raise ConfigError(f"init {init!r} takes no argument {key!r}.{did_you_mean(key, sorted(accepted))}")
    return partial(function, **_gain(accepted, activation) | kwargs)


def _gain(accepted: set[str], activation: nn.Module | None) -> dict[str, Any]:
    """The arguments that scale an initialisation to the activation."""
    name = _GAIN_NAMES.get(type(activation))
    slope = getattr(activation, "negative_slope", 0.0)
    if "nonlinearity" in accepted:
        return {"nonlinearity": name or "relu", "a": slope}
    if "gain" in accepted and name is not None:
        return {"gain": nn.init.calculate_gain(name, slope)}
    return {}


def _stacked_matrices(part: nn.Module, name: str, key: str) -> int:
    """The number of weight matrices that are stacked in one parameter."""
    if isinstance(part, nn.RNNBase) and not key.startswith("weight_hr"):
        return {"LSTM": 4, "GRU": 3}.get(part.mode, 1)
    if key == "in_proj_weight" or name.rpartition(".")[2] == "qkv":
        return 3
    return 1
