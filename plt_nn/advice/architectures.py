"""The nets that are tried on tables, sequences and small images in memory."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from plt_nn.architectures import MLP, ConvNet, RecurrentNet, ResidualNet, TransformerNet
from plt_nn.errors import ConfigError

_RATES = (1e-3, 1e-2)
_Net = tuple[type[nn.Module], dict[str, Any], str]  # class, arguments, label


@dataclass(frozen=True, eq=False)
class Architecture:
    """A net and a learning rate.

    Args:
        net: The class of the net, one of `plt_nn`.
        init_args: Its arguments.
        lr: The learning rate of AdamW.
        label: Its name in tables.
    """

    net: type[nn.Module]
    init_args: Mapping[str, Any]
    lr: float
    label: str

    def __str__(self) -> str:
        """The name in tables."""
        return f"{self.label}, lr {self.lr:g}"

    @property
    def class_path(self) -> str:
        """The net as a configuration names it."""
        return f"plt_nn.{self.net.__name__}"


def space(shape: Sequence[int], outputs: int) -> list[Architecture]:
    """The candidates from small to large, each with two learning rates.

    Args:
        shape: Shape of an input: `(F,)` of a table, `(T, F)` of a sequence, `(C, H, W)` of an image.
        outputs: Number of outputs.

    Raises:
        ConfigError: The inputs are of another kind.
    """
    kinds: dict[int, Callable[..., list[_Net]]] = {1: _tables, 2: _sequences, 3: _images}
    if len(shape) not in kinds:
        raise ConfigError(f"an input has the shape {tuple(shape)}; expected (F,), (T, F) or (C, H, W).")
    nets = kinds[len(shape)](*shape)
    return [
        Architecture(net, args | {"out_features": outputs}, lr, label) for net, args, label in nets for lr in _RATES
    ]


def _tables(features: int) -> list[_Net]:
    hidden: list[list[int]] = [[], [32], [128], [64, 64], [256, 256], [128, 128, 128]]
    return [
        (MLP, {"in_features": features, "hidden": each}, f"MLP {'-'.join(map(str, each))}" if each else "linear")
        for each in hidden
    ]


def _sequences(length: int, features: int) -> list[_Net]:
    base: dict[str, Any] = {"in_features": features}
    transformer = base | {"depth": 2, "heads": 4, "mlp_ratio": 2.0, "max_length": max(256, length)}
    return [
        *(
            (RecurrentNet, base | {"hidden_size": size, "cell": cell}, f"{cell.upper()} {size}")
            for size in (32, 128)
            for cell in ("gru", "lstm")
        ),
        *((TransformerNet, transformer | {"dim": dim}, f"transformer {dim}") for dim in (32, 64)),
        _flat(length * features),
    ]


def _images(channels: int, height: int, width: int) -> list[_Net]:
    base = {"in_channels": channels}
    deep = [[16, 32], [32, 64]] if min(height, width) < 16 else [[16, 32, 64], [32, 64, 128]]
    return [
        *((ConvNet, base | {"channels": each}, f"ConvNet {each[-1]}") for each in deep),
        *((ResidualNet, base | {"channels": each, "blocks": 1}, f"ResidualNet {each[-1]}") for each in deep),
        _flat(channels * height * width),
    ]


def _flat(features: int) -> _Net:
    return MLP, {"in_features": features, "hidden": [128], "flatten": True}, "MLP 128"
