"""Checksums of rows: they distinguish complete rows from missing and damaged ones, and changed from unchanged ones."""

import zlib

import torch
from torch import Tensor


def row_checksums(rows: Tensor) -> Tensor:
    """The CRC-32 of each row's bytes, int64 `(N,)`; never 0.

    It detects any change of up to 32 adjacent bits in a row, and any other with a chance of all but one in 2^32. Sums
    with random weights are faster, but overlook pairs of changed signs.

    Args:
        rows: A tensor `(N, ...)` of any dtype on the CPU.
    """
    return torch.tensor([zlib.crc32(content.data) | 1 << 32 for content in row_bytes(rows).numpy()], dtype=torch.int64)


def row_bytes(rows: Tensor) -> Tensor:
    """The bytes of each row, uint8 `(N, bytes)`."""
    width = rows[:1].numel() * rows.element_size()
    return rows.contiguous().reshape(-1).view(torch.uint8).view(len(rows), width)
