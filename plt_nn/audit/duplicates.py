"""Images that occur more than once: the same file, or the same picture in another size, format or quality."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
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


def _groups(
    rows: NDArray[np.int64], copy_of: NDArray[np.int64], picture: NDArray[np.int64]
) -> tuple[DuplicateGroup, ...]:
    repeated = np.bincount(picture)[picture] > 1
    table = pd.DataFrame({"row": rows, "copy": copy_of, "picture": picture})[repeated]
    return tuple(
        DuplicateGroup(tuple(tuple(copy.tolist()) for _, copy in group.groupby("copy", sort=False)["row"]))
        for _, group in table.groupby("picture", sort=False)
    )
