"""Pairs of images that are near each other, without comparing them in Python one by one.

The perceptual hash (`imagehash.phash`: the signs of the 64 lowest frequencies of the discrete cosine transform)
shows which pairs to compare: in another size, format or quality a picture changes it by a few bits. Flat and similar
pictures can share it by chance, so that a pair counts only if its thumbnails correlate as well. On the 398 photographs
of ants and bees no two are within 12 bits; their copies at a quarter of the size and JPEG quality 30 are within 6, with
a correlation of 0.97.
"""

import numpy as np
from numpy.typing import NDArray

MOST_BITS = 8  # of 64 in which the hashes of a pair may differ
LEAST_CORRELATION = 0.95  # of the thumbnails
LEAST_WITHOUT_DETAIL = 0.99  # of the thumbnails of images so small that many are alike
_ROWS = 256  # compared with all others at once
_PER_ROW = 64  # pairs of each, at most, whose thumbnails are looked at
_PAIRS = 8192  # whose thumbnails are looked at at once


def near_pairs(
    bits: NDArray[np.bool_], thumbnails: NDArray[np.uint8], detailed: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], int]:
    """The pairs of images that show the same picture, and how many pairs were left out for too many are alike.

    Args:
        bits: Perceptual hashes, `(N, 64)`.
        thumbnails: `(N, H, W, C)`.
        detailed: Whether each image is large enough to have detail, `(N,)`.

    Returns:
        Pairs of rows `(P, 2)`, the smaller first; and the number left out, the less alike of them first.
    """
    signs = np.where(bits, np.float32(1), np.float32(-1))
    closest = np.float32(bits.shape[1] - 2 * MOST_BITS)  # the product of two hashes that differ in so many bits
    found, left_out = [np.empty((0, 2), dtype=np.int64)], 0
    for begin in range(0, len(bits), _ROWS):
        products = signs[begin : begin + _ROWS] @ signs[begin:].T
        products[np.tril_indices(len(products))] = -np.inf  # each pair once
        flat = np.flatnonzero(products >= closest)
        most = _PER_ROW * len(products)
        if len(flat) > most:
            left_out += len(flat) - most
            flat = flat[np.argpartition(-products.ravel()[flat], most)[:most]]
        pairs = np.stack(np.divmod(flat, products.shape[1]), axis=1) + begin
        found.append(pairs[_alike(pairs, thumbnails, detailed)])
    return np.concatenate(found), left_out


def _alike(pairs: NDArray[np.int64], thumbnails: NDArray[np.uint8], detailed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether the thumbnails of each pair correlate, `(P,)`."""
    alike = np.zeros(len(pairs), dtype=np.bool_)
    for begin in range(0, len(pairs), _PAIRS):
        one, other = pairs[begin : begin + _PAIRS].T
        correlation = np.einsum("nk,nk->n", _normalised(thumbnails[one]), _normalised(thumbnails[other]))
        needed = np.where(detailed[one] & detailed[other], LEAST_CORRELATION, LEAST_WITHOUT_DETAIL)
        alike[begin : begin + _PAIRS] = correlation >= needed
    return alike


def _normalised(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Thumbnails as vectors of length 1 `(N, K)`, without the mean of each colour."""
    values = thumbnails.astype(np.float32)
    values = (values - values.mean((1, 2), keepdims=True)).reshape(len(values), -1)
    return np.asarray(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-6))
