"""Packs arrays into a page: one compressed block, and where in it each array lies. Pure."""

import base64
import gzip
from typing import Any

import numpy as np
from numpy.typing import NDArray

Place = list[Any]  # offset in bytes, number of elements, and the dtype as JavaScript's typed arrays know it


class ArrayBlock:
    """Collects arrays; those with the same content are stored once, such as the steps that many metrics share."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._known: dict[tuple[str, bytes], Place] = {}

    def add(self, values: NDArray[Any], kind: str = "f4") -> Place:
        """Adds an array.

        Args:
            values: The array, `(N,)`.
            kind: `f4` or `f8` for floats, `i4` for whole numbers.

        Returns:
            Where it lies.
        """
        content = np.ascontiguousarray(values, dtype=f"<{kind}").tobytes()
        place = self._known.get((kind, content))
        if place is None:
            place = self._known[(kind, content)] = [self._size, len(values), kind]
            padding = -len(content) % 8
            self._parts.append(content + b"\0" * padding)
            self._size += len(content) + padding
        return place

    def packed(self) -> str:
        """The whole block, compressed, in base64."""
        return packed(b"".join(self._parts))


def packed(content: bytes) -> str:
    """Bytes compressed and in base64, as the page's script unpacks them."""
    return base64.b64encode(gzip.compress(content, 6, mtime=0)).decode()
