"""Findings about the files: those that cannot be read, the balance of the classes, sizes and colours."""

import math
import os
from collections import Counter
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plt_nn.audit.findings import Finding, printable
from plt_nn.audit.scan import ScannedImages
from plt_nn.data.class_folders import ClassFolders
from plt_nn.text import and_more, counted

_FEW = 10  # training images of a class; fewer are a finding
_UNEVEN = 5  # times as many images in the largest class as in the smallest, from which on it is a finding
_SMALL = 32  # pixels of the shorter side
_LONG = 4  # times as long as wide
# Kinds of images that training ignores, because torchvision does not list them.
_IGNORED = frozenset(
    (
        *(".avif", ".cr2", ".dcm", ".dng", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".jxl"),
        *(".nef", ".raw", ".svg", ".tga"),
    )
)
_REVEALS_CLASS = 0.5  # of the variation between images that lies between classes


def file_findings(root: Path, folders: ClassFolders, images: ScannedImages) -> Iterator[Finding]:
    """The findings about the files of a folder."""
    yield from (Finding("layout", "error", _sentence(fault)) for fault in folders.faults)
    yield from (Finding("layout", "warning", _sentence(warning)) for warning in folders.warnings)
    in_training = class_counts(folders, images).get("train", [0] * len(folders.class_names))
    counts = list(zip(folders.class_names, in_training, strict=True))
    yield from _unreadable(counts, images)
    yield from _ignored(root)
    yield from _balance([(count, name) for name, count in counts if count])
    yield from _few(counts)
    if rows := tuple(np.flatnonzero(images.flat).tolist()):
        text = f"{counted(len(rows), 'image')} of one colour only."
        yield Finding("nothing to see", "warning", text, "Look at them, and remove them if they show nothing.", rows)
    yield from _sizes(images)
    yield from _shortcuts(images)


def class_counts(folders: ClassFolders, images: ScannedImages) -> dict[str, list[int]]:
    """Split name -> how many readable images it has of each class."""
    number = len(folders.class_names)
    return {
        name: np.bincount(images.labels[images.readable & (images.splits == code)], minlength=number).tolist()
        for code, name in enumerate(images.split_names)
    }


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _unreadable(counts: list[tuple[str, int]], images: ScannedImages) -> Iterator[Finding]:
    if not images.reasons:
        return
    rows = tuple(images.reasons)
    few = [printable(f"{images.paths[row].name} ({images.reasons[row]})") for row in rows]
    text = f"{counted(len(rows), 'image')} of {len(images.paths):,} cannot be read: {and_more(few, 3)}."
    yield Finding("unreadable", "warning", text, "Replace or remove them; training leaves them out.", rows)
    had = np.bincount(images.labels[images.splits == 0], minlength=len(counts))
    emptied = [name for (name, left), before in zip(counts, had, strict=True) if before and not left]
    if emptied:
        text = f"No training image of {and_more(emptied, 3)} can be read."
        yield Finding("unreadable", "error", text, "Replace the files, or remove the class.")


def _ignored(root: Path) -> Iterator[Finding]:
    """Files that are images to people, but not to torchvision."""
    endings: Counter[str] = Counter()
    for _, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith((".", "__"))]  # of systems and tools
        endings.update(Path(name).suffix.lower() for name in files if not name.startswith("."))
    if counts := [f"{count:,} {ending}" for ending, count in endings.most_common() if ending in _IGNORED]:
        text = f"Files of kinds that are ignored: {and_more(counts, 3)}."
        yield Finding("ignored files", "warning", text, "Convert them to JPEG or PNG if they are to be trained on.")


def _balance(counts: list[tuple[int, str]]) -> Iterator[Finding]:
    if len(counts) < 2:
        return
    (least, rare), *_, (most, common) = sorted(counts, key=itemgetter(0))
    if most >= _UNEVEN * least:
        text = f"{common} has {most / least:.0f} times as many training images as {rare}: {most:,} and {least:,}."
        mend = "Add images of rare classes, and judge by balanced accuracy or macro F1 rather than by accuracy."
        yield Finding("balance", "warning", text, mend)


def _few(counts: list[tuple[str, int]]) -> Iterator[Finding]:
    if few := [f"{name} ({count})" for name, count in counts if 0 < count < _FEW]:
        number = "1 class has" if len(few) == 1 else f"{len(few)} of {len(counts)} classes have"
        text = f"{number} fewer than {_FEW} training images: {and_more(few, 5)}."
        yield Finding("few images", "warning", text, "Add some: metrics of such a class are mostly chance.")


def _sizes(images: ScannedImages) -> Iterator[Finding]:
    sizes = np.where(images.readable[:, None], images.sizes, 1_000_000)
    shorter, longer = sizes.min(1), sizes.max(1)
    if rows := _lowest_first(shorter, shorter < _SMALL):
        text = f"{counted(len(rows), 'image')} with a side under {_SMALL} pixels, down to {_size(images, rows[0])}."
        mend = "Pretrained nets have seen larger images; `--data.image_size` and `--data.crop_pct` may help."
        yield Finding("sizes", "note", text, mend, rows)
    if rows := _lowest_first(shorter / longer, longer > _LONG * shorter):
        text = f"{counted(len(rows), 'image')} more than {_LONG} times as long as wide, up to {_size(images, rows[0])}."
        yield Finding("sizes", "note", text, "A square crop shows only their middle.", rows)


def _lowest_first(values: NDArray[Any], chosen: NDArray[np.bool_]) -> tuple[int, ...]:
    """The chosen rows, that of the lowest value first."""
    rows = np.flatnonzero(chosen)
    return tuple(rows[np.argsort(values[rows], kind="stable")].tolist())


def _size(images: ScannedImages, row: int) -> str:
    width, height = images.sizes[row].tolist()
    return f"{width} x {height}"


def _shortcuts(images: ScannedImages) -> Iterator[Finding]:
    """Whether the class can be guessed from something that the image does not show."""
    labels, grey = images.labels[images.readable], images.grey[images.readable]
    if len(np.unique(labels)) < 2:
        return
    mend = "A net may learn that instead of the contents; it fails where that is different."
    areas = np.log(np.maximum(1, images.sizes[images.readable].astype(np.float64).prod(1)))
    if (share := _between_classes(areas, labels)) >= _REVEALS_CLASS:
        text = f"The size of an image reveals its class: {share:.0%} of the variance of sizes is between classes."
        yield Finding("shortcut", "warning", text, mend)
    if 0 < grey.sum() < len(grey):
        rows = tuple(np.flatnonzero(images.grey).tolist())
        text = f"{counted(len(rows), 'image')} of {len(grey):,} without colour."
        if (share := _between_classes(grey.astype(np.float64), labels)) >= _REVEALS_CLASS:
            text = f"{text} That reveals the class: {share:.0%} of its variance is between classes."
            yield Finding("shortcut", "warning", text, mend, rows)
        else:
            yield Finding("colours", "note", text, "", rows)


def _between_classes(values: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """The share of a value's variance that lies between classes, less what chance would give (epsilon squared)."""
    _, code, counts = np.unique(labels, return_inverse=True, return_counts=True)
    means = np.bincount(code, values) / counts
    total, within = float(np.square(values - values.mean()).sum()), float(np.square(values - means[code]).sum())
    if math.isclose(total, 0, abs_tol=1e-12) or len(values) <= len(counts):
        return 0.0
    return 1 - (within / (len(values) - len(counts))) / (total / (len(values) - 1))
