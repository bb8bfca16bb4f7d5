"""Digests of tensors, to see whether any has changed or differs between processes."""

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor


def digests(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """A digest of 64 bits of each tensor's bytes (the beginning of its SHA-256), by name.

    It reads every byte once on the CPU, on several threads: about a second for a few gigabytes.

    Args:
        tensors: Tensors of any dtype on any device, by name.
    """
    with ThreadPoolExecutor() as pool:
        return dict(zip(tensors, pool.map(_digest, tensors.values()), strict=True))


def differing(before: Mapping[str, int], after: Mapping[str, int]) -> list[str]:
    """The names under which the digests differ, in the order of `before`."""
    return [name for name, digest in before.items() if after.get(name) != digest]


def _digest(tensor: Tensor) -> int:
    plain = tensor.detach().to("cpu").contiguous().reshape(-1).view(torch.uint8)
    return int.from_bytes(hashlib.sha256(plain.numpy().data).digest()[:8], "little", signed=True)
