"""A few samples by which it is seen whether samples are still what they were."""

import zlib
from typing import Any

import torch
from torch import Tensor

_CHOSEN = 64
_AT_ONCE = 4


class SampleChecksums:
    """Checksums of the inputs of some samples, as they were when they were first read.

    Args:
        size: Number of samples.
    """

    def __init__(self, size: int) -> None:
        self._generator = torch.Generator().manual_seed(size)  # not the global one, from which the training draws
        self._chosen = set(torch.randint(size, (_CHOSEN,), generator=self._generator).tolist() if size else [])
        self._sums: dict[int, int] = {}

    def see(self, rows: Tensor, inputs: Tensor) -> bool:
        """Whether those of the chosen samples that are in a batch are what they were.

        Args:
            rows: The batch's samples.
            inputs: Their inputs, `(N, ...)`.
        """
        is_same = True
        for at, row in enumerate(rows.tolist()):
            if row in self._chosen:
                found = _checksum(inputs[at])
                is_same &= self._sums.setdefault(row, found) == found
        return is_same

    def some(self) -> list[int]:
        """A few samples that were seen, others each time."""
        seen = sorted(self._sums)
        order: Any = torch.randperm(len(seen), generator=self._generator)
        return [seen[at] for at in order[:_AT_ONCE].tolist()]

    def forget(self) -> None:
        """Forgets how they were."""
        self._sums = {}


def _checksum(sample: Tensor) -> int:
    content = sample.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return zlib.crc32(content.numpy().data)
