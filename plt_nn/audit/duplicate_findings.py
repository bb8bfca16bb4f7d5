"""Findings about images that occur more than once: across splits, under different labels, within a split."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, combinations

import numpy as np

from plt_nn.audit.duplicates import DuplicateGroup, Duplicates
from plt_nn.audit.findings import Finding, Severity
from plt_nn.audit.scan import ScannedImages
from plt_nn.text import and_more, counted

_MANY = 0.02  # of the images repeat others within their split, above which it is a warning
Name = Callable[[int], str]
ACROSS = "duplicates across splits"


def duplicate_findings(
    images: ScannedImages, duplicates: Duplicates, by_seed: Sequence[str], name: Name
) -> Iterator[Finding]:
    """The findings about duplicates.

    Args:
        images: The scanned images.
        duplicates: Those that occur more than once.
        by_seed: The splits that were taken out of the training images.
        name: Gives the name of the file of a row.
    """
    for one, other in combinations(range(len(images.split_names)), 2):
        yield from _across(images, duplicates.groups, one, other, by_seed, name)
    yield from _conflicts(images, duplicates.groups, name)
    for code in range(len(images.split_names)):
        yield from _within(images, duplicates.groups, code, by_seed, name)
    if duplicates.not_compared:
        text = f"So many images are similar that {duplicates.not_compared:,} pairs of them were not compared."
        yield Finding("duplicates", "note", text, "There may be more near duplicates than are listed.")


def _across(
    images: ScannedImages, groups: Sequence[DuplicateGroup], one: int, other: int, by_seed: Sequence[str], name: Name
) -> Iterator[Finding]:
    first, second = images.split_names[one], images.split_names[other]
    seen, examples, rows = [], [], []
    for group in groups:
        in_one, in_other = _within_split(images, group, one), _within_split(images, group, other)
        if in_one and in_other:
            seen += in_other
            rows += [*in_other, *in_one]
            examples.append(f"{name(in_other[0])} is {name(in_one[0])}")
    if not seen:
        return
    exact = int(np.isin(images.contents[seen], images.contents[images.splits == one]).sum())
    how = "byte for byte" if exact == len(seen) else f"{exact} byte for byte, {len(seen) - exact} in another form"
    total = counted(int((images.splits == other).sum()), "image")
    are = "is" if len(seen) == 1 else "are"
    text = f"{len(seen):,} of {total} in {second} {are} in {first} as well ({how}): {and_more(examples, 3)}."
    mend = f"Remove them from {first}: a net remembers them, so that {second} shows too good a result."
    if {first, second} & set(by_seed):
        mend = "Keep one file of each: the split is random, and other seeds would put other copies on both sides."
    yield Finding(ACROSS, "error", text, mend, tuple(rows))


def _within_split(images: ScannedImages, group: DuplicateGroup, code: int) -> list[int]:
    return [row for row in group.rows if images.splits[row] == code]


def _conflicts(images: ScannedImages, groups: Sequence[DuplicateGroup], name: Name) -> Iterator[Finding]:
    in_doubt = [group.rows for group in groups if group.is_across(images.labels)]
    if not in_doubt:
        return
    examples = []
    for rows in in_doubt:
        per_class = {int(images.labels[row]): name(row) for row in reversed(rows)}
        examples.append(" and ".join(sorted(per_class.values())))
    number = counted(len(in_doubt), "picture is", "pictures are")
    text = f"{number} in more than one class: {and_more(examples, 3)}."
    mend = "Keep each in the class that is right, and remove the others."
    yield Finding("label conflicts", "error", text, mend, tuple(chain.from_iterable(in_doubt)))


def _within(
    images: ScannedImages, groups: Sequence[DuplicateGroup], code: int, by_seed: Sequence[str], name: Name
) -> Iterator[Finding]:
    inside = [rows for group in groups if len(rows := _within_split(images, group, code)) > 1]
    more, total = sum(len(rows) - 1 for rows in inside), int((images.splits == code).sum())
    if not more:
        return
    repeat = "repeats" if more == 1 else "repeat"
    examples = and_more([f"{name(rows[1])} is {name(rows[0])}" for rows in inside], 3)
    where = f"{counted(total, 'image')} in {images.split_names[code]}"
    mend = "They count more than once; remove them unless you want that."
    if by_seed:
        mend = "Remove them: with another seed of the split they would be on both sides."
    severity: Severity = "warning" if more > _MANY * total or by_seed else "note"
    text = f"{more:,} of {where} {repeat} another one there: {examples}."
    yield Finding("duplicates", severity, text, mend, tuple(chain.from_iterable(inside)))
