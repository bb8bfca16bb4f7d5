"""Read image files of every kind as RGB, and find those that cannot be read."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from plt_nn.data.content_hash import content_hash
from plt_nn.errors import DataError


class CheckedImages(NamedTuple):
    """What a look at every file has shown.

    Attributes:
        bad: Path -> why it cannot be read, which begins with the path; in the order in which they were looked at.
        hashes: Path -> the hash of the bytes of a file that can be read.
    """

    bad: dict[Path, str]
    hashes: dict[Path, bytes]


def read_image(path: Path) -> Image.Image:
    """Read an image file as 8-bit RGB, turned upright as its EXIF orientation says.

    Grey values, palettes and CMYK are converted, an alpha channel is dropped, and 16-bit grey values are scaled to
    8 bits (Pillow by itself cuts them off at 255).

    Args:
        path: The file.

    Raises:
        DataError: The file is missing, empty, cut short or not an image; the text is the reason.
    """
    return _decoded(path, path)


def check_images(paths: Sequence[Path]) -> CheckedImages:
    """Decode every file, several at a time, to find those that cannot be read.

    The hashes are taken here because the bytes are in memory: they add a twentieth to the time, and a second reading
    of the files, a third.

    Args:
        paths: The image files.
    """
    with ThreadPoolExecutor(max_workers=usable_cores()) as pool:  # Pillow decodes without holding Python's lock
        found = list(zip(paths, pool.map(_reason_or_hash, paths), strict=True))
    return CheckedImages(
        bad={path: result for path, result in found if isinstance(result, str)},
        hashes={path: result for path, result in found if isinstance(result, bytes)},
    )


def usable_cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _reason_or_hash(path: Path) -> str | bytes:
    try:
        content = path.read_bytes()
        _decoded(path, BytesIO(content), preview=True)
    except OSError as error:
        return f"{path}: {error}"
    except DataError as error:
        return str(error)
    return content_hash(content)


def _decoded(path: Path, source: Path | BinaryIO, preview: bool = False) -> Image.Image:
    """The image in a file or in its bytes; a preview is at an eighth of a JPEG's size, at a fraction of the cost."""
    try:
        with Image.open(source) as image:
            if preview:
                image.draft("RGB", (1, 1))
            image.load()
            return _as_rgb(ImageOps.exif_transpose(image))
    except UnidentifiedImageError as error:
        empty = path.stat().st_size == 0
        raise DataError(f"{path}: {'the file is empty' if empty else 'not an image that Pillow can read'}") from error
    except Exception as error:  # Pillow's decoders let through whatever a damaged file makes them raise
        raise DataError(f"{path}: {error}") from error


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits: "I;16", "I;16B", and "I" from PGM and TIFF files
        wide = np.asarray(image).astype(np.int64).clip(0, 65535)
        return Image.fromarray(((wide + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # Pillow warns of a direct conversion
    return image.convert("RGB")
