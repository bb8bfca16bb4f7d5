"""What is told of images that occur more than once: across splits, under different labels, within a split."""

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np

from plt_nn.audit.duplicates import DuplicateGroup, Duplicates, spanning
from plt_nn.audit.findings import Finding, Severity, images_of, listed
from plt_nn.audit.scan import ScannedImages

_MANY = 0.02  # of the images repeat others within their split, from which on it is a warning
Name = Callable[[int], str]
ACROSS = "duplicates across splits"


def duplicate_findings(
    images: ScannedImages, duplicates: Duplicates, by_seed: Sequence[str], name: Name
) -> list[Finding]:
    """What is told of duplicates.

    Args:
        images: The scanned images.
        duplicates: Those that occur more than once.
        by_seed: The splits that were taken out of the training images.
        name: What to call the file of a row.
    """
    groups = duplicates.groups
    pairs = list(combinations(range(len(images.split_names)), 2))
    found = [finding for one, other in pairs for finding in _across(images, groups, one, other, by_seed, name)]
    found += [*_conflicts(images, groups, name), *_within(images, groups, by_seed, name)]
    if duplicates.not_compared:
        told = f"So many images are alike that {duplicates.not_compared:,} pairs of them were not looked at."
        found.append(Finding("duplicates", "note", told, "There may be more near duplicates than are told."))
    return found


def crossing(images: ScannedImages, groups: Sequence[DuplicateGroup]) -> list[DuplicateGroup]:
    """The groups that lie in more than one split."""
    return [group for group in groups if len(spanning(group.rows, images.splits)) > 1]


def _across(
    images: ScannedImages, groups: Sequence[DuplicateGroup], one: int, other: int, by_seed: Sequence[str], name: Name
) -> list[Finding]:
    first, second = images.split_names[one], images.split_names[other]
    seen, examples, rows = [], [], []
    for group in groups:
        in_one, in_other = ([row for row in group.rows if images.splits[row] == code] for code in (one, other))
        if in_one and in_other:
            seen += in_other
            rows += [*in_other, *in_one]
            examples.append(f"{name(in_other[0])} is {name(in_one[0])}")
    if not seen:
        return []
    exact = int(np.isin(images.contents[seen], images.contents[images.splits == one]).sum())
    how = "byte for byte" if exact == len(seen) else f"{exact} byte for byte, {len(seen) - exact} in another form"
    total = int((images.splits == other).sum())
    are = "is" if len(seen) == 1 else "are"
    told = f"{len(seen):,} of {images_of(total)} in {second} {are} in {first} as well ({how}): {listed(examples)}."
    mend = f"Remove them from {first}: what {second} measures is too good by what is remembered."
    if {first, second} & set(by_seed):
        mend = "Keep one file of each: the split is drawn by a seed, and others would put other copies on both sides."
    return [Finding(ACROSS, "error", told, mend, tuple(rows))]


def _conflicts(images: ScannedImages, groups: Sequence[DuplicateGroup], name: Name) -> list[Finding]:
    in_doubt = [group for group in groups if len(spanning(group.rows, images.labels)) > 1]
    if not in_doubt:
        return []
    examples = []
    for group in in_doubt:
        per_class = {int(images.labels[row]): name(row) for row in reversed(group.rows)}
        examples.append(" and ".join(sorted(per_class.values())))
    number = "1 picture is" if len(in_doubt) == 1 else f"{len(in_doubt):,} pictures are"
    told = f"{number} in more than one class: {listed(examples)}."
    rows = tuple(row for group in in_doubt for row in group.rows)
    return [
        Finding("label conflicts", "error", told, "Keep each in the class that is right, and remove the others.", rows)
    ]


def _within(
    images: ScannedImages, groups: Sequence[DuplicateGroup], by_seed: Sequence[str], name: Name
) -> list[Finding]:
    found = []
    for code, split in enumerate(images.split_names):
        inside = [[row for row in group.rows if images.splits[row] == code] for group in groups]
        inside = [rows for rows in inside if len(rows) > 1]
        more = sum(len(rows) - 1 for rows in inside)
        if not more:
            continue
        total = int((images.splits == code).sum())
        repeat = "repeats" if more == 1 else "repeat"
        examples = [f"{name(rows[1])} is {name(rows[0])}" for rows in inside]
        told = f"{more:,} of {images_of(total)} in {split} {repeat} another one there: {listed(examples)}."
        mend = "They count more than once; remove them unless that is meant."
        if by_seed:
            mend = "Remove them: with another seed of the split they would lie on both sides."
        severity: Severity = "warning" if more > _MANY * total or by_seed else "note"
        found.append(Finding("duplicates", severity, told, mend, tuple(row for rows in inside for row in rows)))
    return found
