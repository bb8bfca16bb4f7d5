"""Digests (SHA-256) of the values of tensors and arrays; several threads digest a large one."""

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from plt_nn.errors import NotFingerprintable

_PIECE = 1 << 20  # bytes that a thread digests at a time


def tensor_digest(tensor: Tensor) -> str:
    """A digest of a tensor's shape, dtype and values.

    Args:
        tensor: Any tensor with values in memory of its own.

    Raises:
        NotFingerprintable: For a sparse tensor, and for one of the meta device.
    """
    try:
        content = _bytes(tensor)
    except (RuntimeError, TypeError, NotImplementedError) as error:
        raise NotFingerprintable from error
    with ThreadPoolExecutor() as pool:
        return _sha256(f"{tuple(tensor.shape)} {tensor.dtype}", content, pool).hex()


def array_digest(array: "np.ndarray[tuple[int, ...], np.dtype[np.generic]]") -> str:
    """A digest of an array's shape, dtype and values.

    Raises:
        NotFingerprintable: For an array of objects.
    """
    if array.dtype.hasobject:
        raise NotFingerprintable
    content = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
    with ThreadPoolExecutor() as pool:
        return _sha256(f"{array.shape} {array.dtype.descr}", content, pool).hex()


def digests(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """A digest of 64 bits of each tensor's values, by name: about a second for a few gigabytes.

    Args:
        tensors: Tensors of any dtype on any device, by name.
    """
    with ThreadPoolExecutor() as pool:
        found = {name: _sha256("", _bytes(tensor), pool)[:8] for name, tensor in tensors.items()}
    return {name: int.from_bytes(first, "little", signed=True) for name, first in found.items()}


def names_that_differ(before: Mapping[str, int], after: Mapping[str, int]) -> list[str]:
    """The names whose digests differ, in the order of `before`."""
    return [name for name, digest in before.items() if after.get(name) != digest]


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


def _sha256(head: str, content: memoryview, pool: ThreadPoolExecutor) -> bytes:
    """The digest of a text and of what follows it; of more than one piece, the digest of the pieces' digests."""
    digest = hashlib.sha256(head.encode())
    if len(content) <= _PIECE:
        digest.update(content)
        return digest.digest()
    pieces = [content[start : start + _PIECE] for start in range(0, len(content), _PIECE)]
    for piece in pool.map(hashlib.sha256, pieces):
        digest.update(piece.digest())
    return digest.digest()
