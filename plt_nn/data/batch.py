"""The batch that every loader of plt_nn yields."""

from typing import NamedTuple

from torch import Tensor


class Batch(NamedTuple):
    """One batch of samples.

    Attributes:
        x: The inputs: `(N, ...)`, or for sequences of unequal length a pair of the padded inputs `(N, T, ...)` and
            their lengths `(N,)`.
        y: The targets: class codes, int64 `(N,)`, or values, float32 `(N, 1)`.
        index: The place of each sample in its split, int64 `(N,)`.
    """

    x: Tensor | tuple[Tensor, Tensor]
    y: Tensor
    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which batches do not need
