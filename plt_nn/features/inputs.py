"""Finds and replaces the inputs in a batch."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

NAMES = ("x", "image", "images", "input", "inputs", "pixel_values", "data")


def inputs_of(batch: Any) -> Tensor | None:
    """The inputs of a batch: its first entry, or the entry with one of `NAMES`; None if they are not one tensor."""
    found = batch
    if isinstance(batch, Sequence) and batch:
        found = batch[0]
    elif isinstance(batch, dict):
        found = next((batch[name] for name in NAMES if name in batch), None)
    return found if isinstance(found, Tensor) and found.ndim > 0 and found.layout is torch.strided else None


def place_of_inputs(batch: Any, leaves: Sequence[Any]) -> int | None:
    """The position of the inputs among the leaves of a batch; None if they are not there.

    Args:
        batch: The batch.
        leaves: Its leaves; the inputs may occur twice, as in an autoencoder's batch.
    """
    inputs = inputs_of(batch)
    return next((at for at, leaf in enumerate(leaves) if leaf is inputs), None) if inputs is not None else None


def with_inputs(batch: Any, inputs: Tensor) -> Any:
    """The batch with other inputs."""
    leaves, spec = tree_flatten(batch)
    place = place_of_inputs(batch, leaves)
    return tree_unflatten([inputs if at == place else leaf for at, leaf in enumerate(leaves)], spec)
