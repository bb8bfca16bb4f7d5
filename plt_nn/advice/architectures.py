"""The nets that are tried on tables, sequences and small images in memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from plt_nn.architectures import MLP, ConvNet, RecurrentNet, ResidualNet, TransformerNet
from plt_nn.errors import ConfigError

NETS: dict[str, type[nn.Module]] = {
    "plt_nn.MLP": MLP,
    "plt_nn.ConvNet": ConvNet,
    "plt_nn.RecurrentNet": RecurrentNet,
    "plt_nn.ResidualNet": ResidualNet,
    "plt_nn.TransformerNet": TransformerNet,
}
_RATES = (1e-3, 1e-2)


@dataclass(frozen=True)
class Architecture:
    """A net and a learning rate.

    Args:
        class_path: A key of `NETS`.
        init_args: Pairs of argument and value; sequences as tuples.
        lr: The learning rate of AdamW.
        label: Its name in tables.
    """

    class_path: str
    init_args: tuple[tuple[str, Any], ...]
    lr: float
    label: str

    def __str__(self) -> str:
        """The name in tables."""
        return f"{self.label}, lr {self.lr:g}"

    def build(self) -> nn.Module:
        """The net, with new weights."""
        return NETS[self.class_path](**dict(self.init_args))

    def plain_args(self) -> dict[str, Any]:
        """The arguments as YAML has them."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in self.init_args}


def space(shape: Sequence[int], outputs: int) -> list[Architecture]:
    """The candidates from small to large, each with two learning rates.

    Args:
        shape: Shape of an input: `(F,)` of a table, `(T, F)` of a sequence, `(C, H, W)` of an image.
        outputs: Number of outputs.

    Raises:
        ConfigError: The inputs are of another kind.
    """
    if len(shape) == 1:
        found = _tables(shape[0], outputs)
    elif len(shape) == 2:
        found = _sequences(shape[0], shape[1], outputs)
    elif len(shape) == 3:
        found = _images(shape, outputs)
    else:
        raise ConfigError(f"an input has the shape {tuple(shape)}; expected (F,), (T, F) or (C, H, W).")
    return [Architecture(path, tuple(args.items()), lr, label) for path, args, label in found for lr in _RATES]


_Net = tuple[str, dict[str, Any], str]


def _mlp(features: int, hidden: tuple[int, ...], outputs: int, flatten: bool = False) -> _Net:
    args = {"in_features": features, "hidden": hidden, "out_features": outputs}
    label = f"MLP {'-'.join(map(str, hidden))}" if hidden else "linear"
    return "plt_nn.MLP", args | ({"flatten": True} if flatten else {}), label


def _tables(features: int, outputs: int) -> list[_Net]:
    hidden: list[tuple[int, ...]] = [(), (32,), (128,), (64, 64), (256, 256), (128, 128, 128)]
    return [_mlp(features, each, outputs) for each in hidden]


def _sequences(length: int, features: int, outputs: int) -> list[_Net]:
    base = {"in_features": features, "out_features": outputs}
    recurrent: list[_Net] = [
        ("plt_nn.RecurrentNet", base | {"hidden_size": size, "cell": cell}, f"{cell.upper()} {size}")
        for size in (32, 128)
        for cell in ("gru", "lstm")
    ]
    transformers: list[_Net] = [
        (
            "plt_nn.TransformerNet",
            base | {"dim": dim, "depth": 2, "heads": 4, "mlp_ratio": 2.0, "max_length": max(256, length)},
            f"transformer {dim}",
        )
        for dim in (32, 64)
    ]
    return [*recurrent, *transformers, _mlp(length * features, (128,), outputs, flatten=True)]


def _images(shape: Sequence[int], outputs: int) -> list[_Net]:
    channels, height, width = shape
    base = {"in_channels": channels, "out_features": outputs}
    deep = [(16, 32), (32, 64)] if min(height, width) < 16 else [(16, 32, 64), (32, 64, 128)]
    nets: list[_Net] = [("plt_nn.ConvNet", base | {"channels": each}, f"ConvNet {each[-1]}") for each in deep]
    nets += [("plt_nn.ResidualNet", base | {"channels": each, "blocks": 1}, f"ResidualNet {each[-1]}") for each in deep]
    return [*nets, _mlp(channels * height * width, (128,), outputs, flatten=True)]
