"""What the files of an audit show by themselves: those that cannot be read, the classes' balance, sizes and colours."""

import math
import os
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from plt_nn.audit.findings import Finding, images_of, listed, printable
from plt_nn.audit.scan import ScannedImages
from plt_nn.data.class_folders import ClassFolders

_FEW = 10  # training images of a class; fewer are told
_UNEVEN = 5  # times as many images in the largest class as in the smallest, from which on it is told
_SMALL = 32  # pixels of the shorter side
_LONG = 4  # times as long as wide
# Kinds of images that training passes over, for torchvision does not list them.
_PASSED_OVER = frozenset(
    (
        *(".avif", ".cr2", ".dcm", ".dng", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".jxl"),
        *(".nef", ".raw", ".svg", ".tga"),
    )
)
_TELLS_CLASS = 0.5  # of the variation between images that lies between classes


def file_findings(root: Path, folders: ClassFolders, images: ScannedImages) -> list[Finding]:
    """What is told of the files.

    Args:
        root: The folder.
        folders: The class folders.
        images: Their images, scanned.
    """
    return [
        *(Finding("layout", "error", _sentence(fault)) for fault in folders.faults),
        *(Finding("layout", "warning", _sentence(warning)) for warning in folders.warnings),
        *_unreadable(folders, images),
        *_passed_over(root),
        *_balance(folders, images),
        *_few(folders, images),
        *_flat(images),
        *_sizes(images),
        *_shortcuts(images),
    ]


def class_counts(folders: ClassFolders, images: ScannedImages) -> dict[str, list[int]]:
    """Split name -> how many readable images it has of each class.

    Args:
        folders: The class folders.
        images: Their images, scanned.
    """
    number = len(folders.class_names)
    return {
        name: np.bincount(images.labels[images.readable & (images.splits == code)], minlength=number).tolist()
        for code, name in enumerate(images.split_names)
    }


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _unreadable(folders: ClassFolders, images: ScannedImages) -> list[Finding]:
    if not images.reasons:
        return []
    rows = tuple(images.reasons)
    few = [printable(f"{images.paths[row].name} ({images.reasons[row]})") for row in rows]
    told = f"{images_of(len(rows))} of {len(images.paths):,} cannot be read: {listed(few)}."
    found = [Finding("unreadable", "warning", told, "Replace or remove them; training leaves them out.", rows)]
    counts = class_counts(folders, images).get("train", [])
    had = np.bincount(images.labels[images.splits == 0], minlength=len(counts))
    emptied = [name for name, left, before in zip(folders.class_names, counts, had, strict=True) if before and not left]
    if emptied:
        told = f"No training image of {listed(emptied)} can be read."
        found.append(Finding("unreadable", "error", told, "Replace the files, or remove the class."))
    return found


def _passed_over(root: Path) -> list[Finding]:
    """Files that are images to people, but not to torchvision."""
    endings: Counter[str] = Counter()
    for _, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith((".", "__"))]  # of systems and tools
        endings.update(Path(name).suffix.lower() for name in files if not name.startswith("."))
    counts = [f"{count:,} {ending}" for ending, count in endings.most_common() if ending in _PASSED_OVER]
    if not counts:
        return []
    told = f"Files of kinds that are passed over: {listed(counts)}."
    return [Finding("passed over", "warning", told, "Convert them to JPEG or PNG if they are to be trained on.")]


def _balance(folders: ClassFolders, images: ScannedImages) -> list[Finding]:
    counts = dict(zip(folders.class_names, _training_counts(folders, images), strict=True))
    counts = {name: count for name, count in counts.items() if count}
    if len(counts) < 2:
        return []
    most, least = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
    ratio = counts[most] / counts[least]
    if ratio < _UNEVEN:
        return []
    told = f"{most} has {ratio:.0f} times as many training images as {least}: {counts[most]:,} and {counts[least]:,}."
    mend = "Add images of rare classes, and judge by balanced accuracy or macro F1 rather than by accuracy."
    return [Finding("balance", "warning", told, mend)]


def _few(folders: ClassFolders, images: ScannedImages) -> list[Finding]:
    counts = _training_counts(folders, images)
    few = [f"{name} ({count})" for name, count in zip(folders.class_names, counts, strict=True) if 0 < count < _FEW]
    if not few:
        return []
    number = "1 class has" if len(few) == 1 else f"{len(few)} of {len(counts)} classes have"
    told = f"{number} fewer than {_FEW} training images: {listed(few, 5)}."
    return [
        Finding("few images", "warning", told, "Add some: what is measured of such a class is chance for the most.")
    ]


def _training_counts(folders: ClassFolders, images: ScannedImages) -> list[int]:
    return class_counts(folders, images).get("train", [0] * len(folders.class_names))


def _flat(images: ScannedImages) -> list[Finding]:
    rows = tuple(np.flatnonzero(images.flat).tolist())
    told = f"{images_of(len(rows))} of one colour only."
    return [Finding("nothing to see", "warning", told, "Look at them, and remove those.", rows)] if rows else []


def _sizes(images: ScannedImages) -> list[Finding]:
    sizes = np.where(images.readable[:, None], images.sizes, 1_000_000)
    found = []
    small = np.flatnonzero(sizes.min(1) < _SMALL)
    if len(small):
        rows = tuple(small[np.argsort(sizes[small].min(1), kind="stable")].tolist())
        told = f"{images_of(len(rows))} with a side under {_SMALL} pixels, down to {_size(images, rows[0])}."
        mend = (
            "Pretrained nets have seen larger things: `--data.image_size` and `--data.crop_pct` make up for some of it."
        )
        found.append(Finding("sizes", "note", told, mend, rows))
    long = np.flatnonzero(sizes.max(1) > _LONG * sizes.min(1))
    if len(long):
        rows = tuple(long[np.argsort(sizes[long].min(1) / sizes[long].max(1), kind="stable")].tolist())
        told = f"{images_of(len(rows))} more than {_LONG} times as long as wide, up to {_size(images, rows[0])}."
        found.append(Finding("sizes", "note", told, "A square crop shows the middle of them alone.", rows))
    return found


def _size(images: ScannedImages, row: int) -> str:
    width, height = images.sizes[row].tolist()
    return f"{width} x {height}"


def _shortcuts(images: ScannedImages) -> list[Finding]:
    """Whether the class can be told by what has nothing to do with what is shown."""
    labels, readable = images.labels[images.readable], images.readable
    if len(np.unique(labels)) < 2:
        return []
    mend = "A net may learn that rather than what is shown; it fails where that is different."
    areas = np.log(np.maximum(1, images.sizes[readable].astype(np.float64).prod(1)))
    found = []
    if (share := _between_classes(areas, labels)) >= _TELLS_CLASS:
        told = f"The size of an image gives its class away: {share:.0%} of how sizes vary lies between classes."
        found.append(Finding("shortcut", "warning", told, mend))
    grey = images.grey[readable]
    if 0 < grey.sum() < len(grey):
        share = _between_classes(grey.astype(np.float64), labels)
        rows = tuple(np.flatnonzero(images.grey).tolist())
        told = f"{images_of(len(rows))} of {len(grey):,} without colour."
        if share >= _TELLS_CLASS:
            told = f"{told} That gives the class away: {share:.0%} of how it varies lies between classes."
            found.append(Finding("shortcut", "warning", told, mend, rows))
        else:
            found.append(Finding("colours", "note", told, "", rows))
    return found


def _between_classes(values: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """The share of a value's variance that lies between classes, less what chance would give (epsilon squared)."""
    _, code, counts = np.unique(labels, return_inverse=True, return_counts=True)
    means = np.bincount(code, values) / counts
    total, within = float(np.square(values - values.mean()).sum()), float(np.square(values - means[code]).sum())
    if math.isclose(total, 0, abs_tol=1e-12) or len(values) <= len(counts):
        return 0.0
    return 1 - (within / (len(values) - len(counts))) / (total / (len(values) - 1))
