"""Remembers what a batch holds besides its inputs: labels and the like."""

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from plt_nn.features.inputs import place_of_inputs

MOST = 512_000_000  # bytes; if targets take more, such as masks of large images, they are read each time


class TargetCache:
    """Targets of samples that have been read, if these are tensors with a row for each sample."""

    def __init__(self, size: int) -> None:
        self._size, self._is_enabled = size, True
        self.forget()

    def forget(self) -> None:
        """Forgets everything."""
        self._tensors: list[Tensor] | None = None
        self._spec: TreeSpec | None = None
        self._place = 0  # of the inputs among the leaves of a batch
        self._known = torch.zeros(0, dtype=torch.bool)

    def never_cache(self) -> None:
        """Remembers nothing from now on, as where targets depend on the batch."""
        self._is_enabled = False
        self.forget()

    def put(self, rows: Tensor, batch: Any) -> None:
        """Remembers a batch that was read."""
        leaves, spec = tree_flatten(batch)
        place = place_of_inputs(batch, leaves)
        if not self._is_enabled or place is None:
            return
        del leaves[place]
        if not all(isinstance(leaf, Tensor) and leaf.shape[:1] == rows.shape for leaf in leaves):
            return  # such a batch is read each time
        if self._tensors is None and not self._make(leaves, spec, place):
            return
        if self._is_alike(leaves, spec, place):
            for tensor, leaf in zip(self._tensors or [], leaves, strict=True):
                tensor[rows.to(tensor.device)] = leaf
            self._known[rows] = True

    def knows(self, rows: Tensor) -> bool:
        """Whether samples have been read."""
        return len(self._known) > 0 and bool(self._known[rows].all())

    def batch(self, rows: Tensor, inputs: Tensor) -> Any:
        """A batch of samples that have been read."""
        assert self._tensors is not None and self._spec is not None  # noqa: PT018
        leaves = [tensor.index_select(0, rows.to(tensor.device)) for tensor in self._tensors]
        leaves.insert(self._place, inputs)
        return tree_unflatten(leaves, self._spec)

    def _make(self, leaves: list[Tensor], spec: TreeSpec, place: int) -> bool:
        needed = sum(self._size * leaf[:1].numel() * leaf.element_size() for leaf in leaves)
        if needed > MOST:
            self.never_cache()
            return False
        self._spec, self._place = spec, place
        self._tensors = [leaf.new_empty((self._size, *leaf.shape[1:])) for leaf in leaves]
        self._known = torch.zeros(self._size, dtype=torch.bool)
        return True

    def _is_alike(self, leaves: list[Tensor], spec: TreeSpec, place: int) -> bool:
        """Whether a batch has the structure of the first one."""
        if (spec, place) != (self._spec, self._place):
            return False
        pairs = zip(leaves, self._tensors or [], strict=True)
        return all(
            (one.shape[1:], one.dtype, one.device) == (other.shape[1:], other.dtype, other.device)
            for one, other in pairs
        )
