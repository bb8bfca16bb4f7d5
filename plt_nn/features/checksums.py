"""Checksums of rows, to tell what was stored whole from what was never written or is damaged."""

from functools import lru_cache

import torch
from torch import Tensor

_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def row_checksums(rows: Tensor) -> Tensor:
    """A number for each row that depends on all of its bits and their places, int64 `(N,)`.

    It is a sum of the row's elements, taken as integers, with odd random weights modulo 2^64: a change of any one
    element always shows, any other change but for a chance of about one in 2^60.

    Args:
        rows: A contiguous tensor `(N, ...)` of any dtype.
    """
    integers = rows.reshape(len(rows), -1).view(_INTEGERS[rows.element_size()])
    return integers.long() @ _weights(integers.shape[1])


@lru_cache(maxsize=8)
def _weights(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(-(2**62), 2**62, (count,), generator=generator) * 2 + 1
