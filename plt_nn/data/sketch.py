"""A few of a split's content hashes, by which it is told elsewhere how many samples were among them. Pure.

The smallest hashes of a set are a fair sample of it, and those of any other samples that are as small can be looked up
among them (bottom-k sketch: Cohen and Kaplan 2007, https://doi.org/10.1145/1281100.1281133).
"""

import base64
import binascii
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MOST = 256  # hashes, of which 8 bytes each are kept: 3 KB as text


class Overlap(NamedTuple):
    """How many of some samples are in a sketched set.

    Attributes:
        found: How many of those that could be looked up are in it.
        looked_up: How many could be looked up: all of them if the set is small, else those with small hashes.
        samples: How many samples there are.
    """

    found: int
    looked_up: int
    samples: int


def sketch(hashes: NDArray[np.bytes_]) -> str:
    """The smallest hashes of some samples, as text.

    Args:
        hashes: The hash of each sample's content, 16 bytes, `(N,)`.
    """
    return base64.b64encode(np.unique(_numbers(hashes))[:MOST].tobytes()).decode()


def overlap(hashes: NDArray[np.bytes_], of: str) -> Overlap:
    """How many of some samples are among those of a sketch.

    Args:
        hashes: The hash of each sample's content, 16 bytes, `(N,)`.
        of: The sketch.

    Raises:
        ValueError: If it is no sketch.
    """
    try:
        known = np.frombuffer(base64.b64decode(of, validate=True), dtype=">u8")
    except binascii.Error as error:
        raise ValueError(f"{of[:20]!r} is no sketch: {error}") from error
    sought = _numbers(hashes)
    if len(known) == MOST:  # there may have been more
        sought = sought[sought <= known.max()]
    return Overlap(int(np.isin(sought, known).sum()), len(sought), len(hashes))


def _numbers(hashes: NDArray[np.bytes_]) -> NDArray[np.uint64]:
    """The first 8 bytes of each hash."""
    numbers: NDArray[np.uint64] = np.ascontiguousarray(hashes).view(">u8")[::2]
    return numbers
