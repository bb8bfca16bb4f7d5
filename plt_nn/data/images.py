"""Read image files of every kind as RGB, and find those that cannot be read."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from plt_nn.errors import DataError


def read_image(path: Path, preview: bool = False) -> Image.Image:
    """Read an image file as 8-bit RGB, turned upright as its EXIF orientation says.

    Grey values, palettes and CMYK are converted, an alpha channel is dropped, and 16-bit grey values are scaled to
    8 bits (Pillow by itself cuts them off at 255).

    Args:
        path: The file.
        preview: Decode a JPEG at an eighth of its size, which reads the whole file at a fraction of the cost.

    Raises:
        DataError: The file is missing, empty, cut short or not an image; the text is the reason.
    """
    try:
        with Image.open(path) as image:
            if preview:
                image.draft("RGB", (1, 1))
            image.load()
            return _as_rgb(ImageOps.exif_transpose(image))
    except UnidentifiedImageError as error:
        empty = path.stat().st_size == 0
        raise DataError(f"{path}: {'the file is empty' if empty else 'not an image that Pillow can read'}") from error
    except Exception as error:  # Pillow's decoders let through whatever a damaged file makes them raise
        raise DataError(f"{path}: {error}") from error


def find_bad_images(paths: Sequence[Path]) -> dict[Path, str]:
    """Decode every file, several at a time, and return those that cannot be read.

    Args:
        paths: The image files.

    Returns:
        Path -> the reason, which begins with the path; in the order of `paths`.
    """
    with ThreadPoolExecutor(max_workers=usable_cores()) as pool:  # Pillow decodes without holding Python's lock
        reasons = pool.map(_reason, paths)
        return {path: reason for path, reason in zip(paths, reasons, strict=True) if reason is not None}


def usable_cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _reason(path: Path) -> str | None:
    try:
        read_image(path, preview=True)
    except DataError as error:
        return str(error)
    return None


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits: "I;16", "I;16B", and "I" from PGM and TIFF files
        wide = np.asarray(image).astype(np.int64).clip(0, 65535)
        return Image.fromarray(((wide + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # Pillow warns of a direct conversion
    return image.convert("RGB")
