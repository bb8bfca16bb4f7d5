"""Images that occur more than once: the same file, or the same picture in another size, format or quality."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from plt_nn.audit.scan import ScannedImages

MOST_BITS = 8  # of 64 in which the hashes of a pair may differ
LEAST_CORRELATION = 0.95  # of the thumbnails
LEAST_WITHOUT_DETAIL = 0.99  # of the thumbnails of images so small that many are alike
_ROWS = 256  # compared with all others at once
_PER_ROW = 64  # pairs of each, at most, whose thumbnails are looked at
_PAIRS = 8192  # whose thumbnails are looked at at once
_LEAST_DETAIL = 32  # pixels of the shorter side; smaller images are alike for want of detail


@dataclass(frozen=True)
class DuplicateGroup:
    """Files that show the same picture.

    Args:
        copies: Rows of the scan, those of the same bytes together; the first of each in the order of the scan.
    """

    copies: tuple[tuple[int, ...], ...]

    @property
    def rows(self) -> tuple[int, ...]:
        """All rows, in the order of the scan."""
        return tuple(sorted(row for copy in self.copies for row in copy))

    @property
    def is_exact(self) -> bool:
        """Whether all files have the same bytes."""
        return len(self.copies) == 1

    def is_across(self, codes: NDArray[np.int64]) -> bool:
        """Whether its files differ in a code: that of the split, or of the class, `(N,)` for all rows of the scan."""
        return len(np.unique(codes[list(self.rows)])) > 1


@dataclass(frozen=True)
class Duplicates:
    """What occurs more than once.

    Attributes:
        groups: Of two files or more each, in the order of the scan.
        not_compared: Pairs of images that were left out of the comparison, for too many are alike.
    """

    groups: tuple[DuplicateGroup, ...]
    not_compared: int = 0


def find_duplicates(images: ScannedImages) -> Duplicates:
    """Finds the files that show the same picture; those of one colour are compared by their bytes alone."""
    rows = np.flatnonzero(images.readable)
    if len(rows) == 0:
        return Duplicates(())
    copy_of, _ = pd.factorize(images.contents[rows].astype(object))  # numbered in the order of the scan
    representatives = rows[np.unique(copy_of, return_index=True)[1]]
    compared = np.flatnonzero(~images.flat[representatives])
    chosen = representatives[compared]
    detailed = images.sizes[chosen].min(1) >= _LEAST_DETAIL
    pairs, not_compared = near_pairs(images.bits[chosen], images.thumbnails[chosen], detailed)
    one, other = compared[pairs].T
    graph = coo_array((np.ones(len(pairs), dtype=np.int8), (one, other)), shape=2 * (len(representatives),))
    picture_of_copy = np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)
    return Duplicates(_groups(rows, copy_of, picture_of_copy[copy_of]), not_compared)


def near_pairs(
    bits: NDArray[np.bool_], thumbnails: NDArray[np.uint8], detailed: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], int]:
    """The pairs of images that show the same picture, and how many pairs were left out for too many are alike.

    The perceptual hash (`imagehash.phash`: the signs of the 64 lowest frequencies of the discrete cosine transform)
    shows which pairs to compare: in another size, format or quality a picture changes it by a few bits. Flat and
    similar pictures can share it by chance, so that a pair counts only if its thumbnails correlate as well. On the 398
    photographs of ants and bees no two are within 12 bits; their copies at a quarter of the size and JPEG quality 30
    are within 6, with a correlation of 0.97.

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


def _groups(
    rows: NDArray[np.int64], copy_of: NDArray[np.int64], picture: NDArray[np.int64]
) -> tuple[DuplicateGroup, ...]:
    repeated = np.flatnonzero(np.bincount(picture)[picture] > 1)
    grouped: dict[int, dict[int, list[int]]] = {}
    for at in repeated.tolist():
        grouped.setdefault(int(picture[at]), {}).setdefault(int(copy_of[at]), []).append(int(rows[at]))
    return tuple(DuplicateGroup(tuple(map(tuple, copies.values()))) for copies in grouped.values())


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
