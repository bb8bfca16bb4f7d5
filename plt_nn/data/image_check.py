"""Look at every image file once, several at a time: which cannot be read, and the hashes of their bytes."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from plt_nn.data.hashes import content_hash
from plt_nn.errors import DataError
from plt_nn.inference.images import decode_image


class CheckedImages(NamedTuple):
    """The result of reading every file.

    Attributes:
        bad: Path -> why it cannot be read; the text begins with the path. In the order of the files.
        hashes: Path -> the hash of the bytes of a file that can be read.
    """

    bad: dict[Path, str]
    hashes: dict[Path, bytes]


def check_images(paths: Sequence[Path]) -> CheckedImages:
    """Decode every file to find those that cannot be read.

    The hashes are taken here because the bytes are in memory: they add a twentieth to the time, and a second reading
    of the files, a third.
    """
    with ThreadPoolExecutor(max_workers=usable_cores()) as pool:  # Pillow decodes without holding Python's lock
        found = list(zip(paths, pool.map(_reason_or_hash, paths), strict=True))
    return CheckedImages(
        bad={path: result for path, result in found if isinstance(result, str)},
        hashes={path: result for path, result in found if isinstance(result, bytes)},
    )


def file_hashes(paths: Sequence[Path]) -> dict[Path, bytes]:
    """The hash of each file's bytes; files that cannot be read are left out."""
    with ThreadPoolExecutor(max_workers=usable_cores()) as pool:  # hashing does not hold Python's lock
        hashes = zip(paths, pool.map(_file_hash, paths), strict=True)
        return {path: found for path, found in hashes if found is not None}


def usable_cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _reason_or_hash(path: Path) -> str | bytes:
    try:
        content = path.read_bytes()
        decode_image(content, str(path), preview=1)
    except OSError as error:
        return f"{path}: {error}"
    except DataError as error:
        return str(error)
    return content_hash(content)


def _file_hash(path: Path) -> bytes | None:
    try:
        return content_hash(path.read_bytes())
    except OSError:
        return None
