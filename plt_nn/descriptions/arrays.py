"""The content of tensors and arrays as text."""

import hashlib

import numpy as np
import torch
from torch import Tensor

from plt_nn.descriptions.unknown import Unknown


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
        raise Unknown from error
    digest = hashlib.sha256(f"{tuple(tensor.shape)} {tensor.dtype}".encode())
    digest.update(values.data)
    return digest.hexdigest()


def array_content(array: "np.ndarray[tuple[int, ...], np.dtype[np.generic]]") -> str:
    """A digest of an array's shape, dtype and values.

    Args:
        array: Any array of numbers or text.

    Raises:
        Unknown: If it is one of objects.
    """
    if array.dtype.hasobject:
        raise Unknown
    digest = hashlib.sha256(f"{array.shape} {array.dtype.descr}".encode())
    digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
