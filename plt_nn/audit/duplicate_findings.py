"""Findings about images that occur more than once: across splits, under different labels, within a split."""

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np

from plt_nn.audit.duplicates import DuplicateGroup, Duplicates, spanning
from plt_nn.audit.findings import Finding, Severity
from plt_nn.audit.scan import ScannedImages
from plt_nn.text import and_more, counted

_MANY = 0.02  # of the images repeat others within their split, above which it is a warning
Name = Callable[[int], str]
ACROSS = "duplicates across splits"


def duplicate_findings(
    images: ScannedImages, duplicates: Duplicates, by_seed: Sequence[str], name: Name
) -> list[Finding]:
    """The findings about duplicates.

    Args:
        images: The scanned images.
        duplicates: Those that occur more than once.
        by_seed: The splits that were taken out of the training images.
        name: Gives the name of the file of a row.
    """
    groups = duplicates.groups
    pairs = list(combinations(range(len(images.split_names)), 2))
    found = [finding for one, other in pairs for finding in _across(images, groups, one, other, by_seed, name)]
    found += [*_conflicts(images, groups, name), *_within(images, groups, by_seed, name)]
    if duplicates.not_compared:
        text = f"So many images are similar that {duplicates.not_compared:,} pairs of them were not compared."
        found.append(Finding("duplicates", "note", text, "There may be more near duplicates than are listed."))
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
    how_many = f"{len(seen):,} of {counted(total, 'image')} in {second} {are} in {first} as well"
    text = f"{how_many} ({how}): {and_more(examples, 3)}."
    mend = f"Remove them from {first}: a net remembers them, so that {second} shows too good a result."
    if {first, second} & set(by_seed):
        mend = "Keep one file of each: the split is random, and other seeds would put other copies on both sides."
    return [Finding(ACROSS, "error", text, mend, tuple(rows))]


def _conflicts(images: ScannedImages, groups: Sequence[DuplicateGroup], name: Name) -> list[Finding]:
    in_doubt = [group for group in groups if len(spanning(group.rows, images.labels)) > 1]
    if not in_doubt:
        return []
    examples = []
    for group in in_doubt:
        per_class = {int(images.labels[row]): name(row) for row in reversed(group.rows)}
        examples.append(" and ".join(sorted(per_class.values())))
    number = counted(len(in_doubt), "picture is", "pictures are")
    text = f"{number} in more than one class: {and_more(examples, 3)}."
    rows = tuple(row for group in in_doubt for row in group.rows)
    return [
        Finding("label conflicts", "error", text, "Keep each in the class that is right, and remove the others.", rows)
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
        text = f"{more:,} of {counted(total, 'image')} in {split} {repeat} another one there: {and_more(examples, 3)}."
        mend = "They count more than once; remove them unless you want that."
        if by_seed:
            mend = "Remove them: with another seed of the split they would be on both sides."
        severity: Severity = "warning" if more > _MANY * total or by_seed else "note"
        found.append(Finding("duplicates", severity, text, mend, tuple(row for rows in inside for row in rows)))
    return found
