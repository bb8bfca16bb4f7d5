"""The content of tensors and arrays as text."""

import hashlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from plt_nn.errors import NotFingerprintable

_PIECE = 1 << 22  # bytes that a thread digests at a time


def tensor_content(tensor: Tensor) -> str:
    """A digest of a tensor's shape, dtype and values.

    Args:
        tensor: Any tensor that has its values in memory of its own.

    Raises:
        Unknown: If it has not.
    """
    try:
        values = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    except (RuntimeError, TypeError, NotImplementedError) as error:  # a sparse one; one of the meta device
        raise NotFingerprintable from error
    return _digest(f"{tuple(tensor.shape)} {tensor.dtype}", values.data)


def array_content(array: "np.ndarray[tuple[int, ...], np.dtype[np.generic]]") -> str:
    """A digest of an array's shape, dtype and values.

    Args:
        array: Any array of numbers or text.

    Raises:
        Unknown: If it is one of objects.
    """
    if array.dtype.hasobject:
        raise NotFingerprintable
    return _digest(f"{array.shape} {array.dtype.descr}", np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


def _digest(kind: str, content: memoryview) -> str:
    """One of many bytes is that of its pieces, each of which a core digests: all images of a data set may be in it."""
    pieces = [content[start : start + _PIECE] for start in range(0, len(content), _PIECE)]
    digest = hashlib.sha256(kind.encode())
    if len(pieces) <= 1:
        digest.update(content)
        return digest.hexdigest()
    with ThreadPoolExecutor() as pool:
        for found in pool.map(hashlib.sha256, pieces):
            digest.update(found.digest())
    return digest.hexdigest()
