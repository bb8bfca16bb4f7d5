"""Activations by the names of torch's classes."""

from typing import Any

from torch import nn

from plt_nn.errors import ConfigError, did_you_mean

# These mix the entries of a tensor, halve it, or need several inputs, so they do not fit between any two layers.
_NOT_ELEMENTWISE = {"GLU", "LogSoftmax", "MultiheadAttention", "Softmax", "Softmax2d", "Softmin"}

ACTIVATIONS: dict[str, type[nn.Module]] = {
    name.lower(): getattr(nn, name) for name in nn.modules.activation.__all__ if name not in _NOT_ELEMENTWISE
}


def create_activation(name: str, **kwargs: Any) -> nn.Module:
    """Build one of torch's elementwise activations (https://docs.pytorch.org/docs/stable/nn.html).

    Args:
        name: The name of the class in `torch.nn`, in upper or lower case: `ReLU`, `gelu`, `SiLU`.
        **kwargs: Arguments of the class, such as `negative_slope` of `LeakyReLU`.

    Raises:
        ConfigError: If there is no such activation, or it does not take these arguments.
    """
    kind = ACTIVATIONS.get(name.lower())
    if kind is None:
        raise ConfigError(
            f"activation is {name!r}; expected an elementwise activation of torch.nn, such as 'ReLU' or 'GELU'."
            f"{did_you_mean(name.lower(), ACTIVATIONS)}"
        )
    try:
        return kind(**kwargs)
    except TypeError as error:
        raise ConfigError(f"activation {kind.__name__!r} cannot be built with {kwargs}: {error}") from error
