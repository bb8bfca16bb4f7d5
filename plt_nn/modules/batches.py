"""Reading a batch, whoever made it."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from plt_nn.errors import ConfigError, DataError


def unpack_batch(batch: object) -> tuple[Any, Tensor, Tensor | None]:
    """A batch's inputs, targets and sample indices, from `(x, y)` or `(x, y, index)`; no index is None.

    Raises:
        DataError: For anything else.
    """
    if isinstance(batch, Sequence) and len(batch) in (2, 3):
        x, y, *rest = batch
        if isinstance(y, Tensor):
            return x, y, rest[0] if rest else None
    raise DataError(f"A batch is a {type(batch).__name__}; expected a tuple (x, y) or (x, y, index) with y a tensor.")


def apply(net: nn.Module, x: Any) -> Tensor:
    """The net's output for a batch's inputs; a tuple, such as padded sequences and their lengths, is spread.

    Raises:
        ConfigError: If the net returns something else than one tensor.
    """
    output = net(*x) if isinstance(x, tuple | list) else net(x)
    if not isinstance(output, torch.Tensor):
        raise ConfigError(
            f"{type(net).__name__} returned a {type(output).__name__}; expected one tensor. Wrap the net in a module "
            "whose forward gives the output alone."
        )
    return output
