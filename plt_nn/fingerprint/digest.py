"""Digests of tensors, to see whether any has changed or differs between processes."""

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

_LARGE = 1 << 18  # bytes: below that a thread costs more than it saves


def digests(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """A digest of 64 bits of each tensor's bytes (the beginning of its SHA-256), by name.

    It reads every byte once on the CPU, on several threads: about a second for a few gigabytes.

    Args:
        tensors: Tensors of any dtype on any device, by name.
    """
    large = [name for name, tensor in tensors.items() if tensor.nbytes >= _LARGE]
    with ThreadPoolExecutor() as pool:
        found = dict(zip(large, pool.map(_digest, [tensors[name] for name in large]), strict=True))
        return {name: found[name] if name in found else _digest(tensor) for name, tensor in tensors.items()}


def differing(before: Mapping[str, int], after: Mapping[str, int]) -> list[str]:
    """The names under which the digests differ, in the order of `before`."""
    return [name for name, digest in before.items() if after.get(name) != digest]


def _digest(tensor: Tensor) -> int:
    plain = tensor.detach().to("cpu").contiguous().reshape(-1).view(torch.uint8)
    return int.from_bytes(hashlib.sha256(plain.numpy().data).digest()[:8], "little", signed=True)
