"""Images that occur more than once: the same file, or the same picture in another size, format or quality."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from plt_nn.audit.near_duplicates import near_pairs
from plt_nn.audit.scan import ScannedImages

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
    """Finds the files that show the same picture.

    Args:
        images: The scanned images. Those of one colour are compared by their bytes alone.
    """
    rows = np.flatnonzero(images.readable)
    if len(rows) == 0:
        return Duplicates(())
    _, first, copy_of = np.unique(images.contents[rows], return_index=True, return_inverse=True)
    by_first = np.argsort(first)  # copies in the order in which they first occur
    rank = np.empty(len(first), dtype=np.int64)
    rank[by_first] = np.arange(len(first))
    copy_of, representatives = rank[copy_of], rows[first[by_first]]
    compared = np.flatnonzero(~images.flat[representatives])
    chosen = representatives[compared]
    detailed = images.sizes[chosen].min(1) >= _LEAST_DETAIL
    pairs, not_compared = near_pairs(images.bits[chosen], images.thumbnails[chosen], detailed)
    picture = _components(compared[pairs], len(representatives))
    return Duplicates(_groups(rows, copy_of, picture), not_compared)


def _components(pairs: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The number of the picture that each copy shows."""
    ones = np.ones(len(pairs), dtype=np.int8)
    graph = coo_array((ones, (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def _groups(
    rows: NDArray[np.int64], copy_of: NDArray[np.int64], picture: NDArray[np.int64]
) -> tuple[DuplicateGroup, ...]:
    shown = picture[copy_of]
    often = np.flatnonzero(np.bincount(shown)[shown] > 1)
    grouped: dict[int, dict[int, list[int]]] = {}
    for at in often.tolist():
        grouped.setdefault(int(shown[at]), {}).setdefault(int(copy_of[at]), []).append(int(rows[at]))
    return tuple(DuplicateGroup(tuple(map(tuple, copies.values()))) for copies in grouped.values())


def spanning(rows: Sequence[int], codes: NDArray[np.int64]) -> tuple[int, ...]:
    """The codes that occur among some rows, sorted.

    Args:
        rows: The rows.
        codes: Of all rows, `(N,)`: of splits, or of classes.
    """
    return tuple(np.unique(codes[list(rows)]).tolist())
