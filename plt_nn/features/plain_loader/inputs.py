"""Where the inputs are in a batch."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

INPUTS = ("x", "image", "images", "input", "inputs", "pixel_values", "data")


def inputs_of(batch: Any) -> Tensor | None:
    """The inputs of a batch: its first entry, or the one called `x`, `image`, `input`...; None if they are no tensor.

    Args:
        batch: What a loader gives.
    """
    found = batch
    if isinstance(batch, Sequence) and batch:
        found = batch[0]
    elif isinstance(batch, dict):
        found = next((batch[name] for name in INPUTS if name in batch), None)
    return found if isinstance(found, Tensor) and found.ndim > 0 and found.layout is torch.strided else None


def place_of_inputs(batch: Any, leaves: Sequence[Any]) -> int | None:
    """Where the inputs are among the leaves of a batch; None if they are not.

    Args:
        batch: The batch.
        leaves: Its leaves; the inputs may be among them twice, as of an autoencoder's batch.
    """
    inputs = inputs_of(batch)
    return next((at for at, leaf in enumerate(leaves) if leaf is inputs), None) if inputs is not None else None


def with_inputs(batch: Any, inputs: Tensor) -> Any:
    """A batch with other inputs.

    Args:
        batch: The batch.
        inputs: The inputs.
    """
    leaves, spec = tree_flatten(batch)
    place = place_of_inputs(batch, leaves)
    return tree_unflatten([inputs if at == place else leaf for at, leaf in enumerate(leaves)], spec)
