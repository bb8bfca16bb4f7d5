"""Hashes of samples' content, and sketches: a few hashes of a data set, by which others find their samples in it. Pure.

The smallest hashes of a set are a fair sample of it, and equally small hashes of other samples can be looked up among
them (bottom-k sketch: Cohen and Kaplan 2007, https://doi.org/10.1145/1281100.1281133).
"""

import base64
import binascii
from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

HASH_BYTES = 16  # as 32 hexadecimal digits; MLflow takes 36 characters at most as a data set's digest
SKETCH_SIZE = 256  # hashes, of which a sketch holds 8 bytes each: 3 KB as text


def content_hash(content: bytes | memoryview) -> bytes:
    """The hash of a sample's bytes, 16 bytes long (blake2b, https://www.rfc-editor.org/rfc/rfc7693)."""
    return blake2b(content, digest_size=HASH_BYTES).digest()


def row_hashes(x: Tensor, y: Tensor) -> NDArray[np.bytes_]:
    """The hash of each row's bytes in two tensors, `(N,)`."""
    rows = np.concatenate([_row_bytes(x), _row_bytes(y)], axis=1)
    whole, width = memoryview(rows.tobytes()), rows.shape[1]
    return as_array([content_hash(whole[begin : begin + width]) for begin in range(0, len(whole), width)])


def as_array(hashes: Sequence[bytes]) -> NDArray[np.bytes_]:
    """Hashes as an array, `(N,)`, which is quick to sort and to search."""
    return np.array(hashes, dtype=f"S{HASH_BYTES}")


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
    return base64.b64encode(np.unique(_numbers(hashes))[:SKETCH_SIZE].tobytes()).decode()


def overlap(hashes: NDArray[np.bytes_], of: str) -> Overlap:
    """How many of some samples are among those of a sketch.

    Args:
        hashes: The hash of each sample's content, 16 bytes, `(N,)`.
        of: The sketch.

    Raises:
        ValueError: `of` is not a sketch.
    """
    try:
        known = np.frombuffer(base64.b64decode(of, validate=True), dtype=">u8")
    except binascii.Error as error:
        raise ValueError(f"{of[:20]!r} is not a sketch: {error}") from error
    sought = _numbers(hashes)
    if len(known) == SKETCH_SIZE:  # there may have been more
        sought = sought[sought <= known.max()]
    return Overlap(int(np.isin(sought, known).sum()), len(sought), len(hashes))


def _numbers(hashes: NDArray[np.bytes_]) -> NDArray[np.uint64]:
    """The first 8 bytes of each hash."""
    numbers: NDArray[np.uint64] = np.ascontiguousarray(hashes).view(">u8")[::2]
    return numbers


def _row_bytes(tensor: Tensor) -> NDArray[np.uint8]:
    return np.ascontiguousarray(tensor.detach().cpu().numpy()).reshape(len(tensor), -1).view(np.uint8)
