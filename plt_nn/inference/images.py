"""Read images of every kind as RGB, from files and from bytes."""

from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from plt_nn.errors import DataError


def read_image(path: Path) -> Image.Image:
    """Read an image file as 8-bit RGB, turned upright as its EXIF orientation says.

    Grey values, palettes and CMYK are converted, an alpha channel is dropped, and 16-bit grey values are scaled to
    8 bits (Pillow by itself cuts them off at 255).

    Raises:
        DataError: The file is missing, empty, cut short or not an image; the text is the reason.
    """
    return _decoded(path, str(path))


def decode_image(
    content: bytes, name: str = "the image", most_pixels: int | None = None, preview: int | None = None
) -> Image.Image:
    """The image in the bytes of a file; see `read_image`.

    Args:
        content: The bytes.
        name: What to call it in an error.
        most_pixels: An image with more pixels is refused before it is decoded: a few kilobytes can hold gigabytes of
            them. Default: Pillow's own limit, 179 million.
        preview: Of a JPEG, sides of this many pixels will do; it is decoded at an eighth of its size at the smallest,
            which costs a fraction. Default: all pixels.

    Raises:
        DataError: It cannot be read; the text is the reason.
    """
    return _decoded(BytesIO(content), name, most_pixels, preview)


def as_rgb(image: Image.Image) -> Image.Image:
    """An image as 8-bit RGB."""
    if image.mode.startswith("I"):  # 16 bits: "I;16", "I;16B", and "I" from PGM and TIFF files
        wide = np.asarray(image).astype(np.int64).clip(0, 65535)
        return Image.fromarray(((wide + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # Pillow warns of a direct conversion
    return image.convert("RGB")


def _decoded(
    source: Path | BinaryIO, name: str, most_pixels: int | None = None, preview: int | None = None
) -> Image.Image:
    try:
        with Image.open(source) as image:
            if most_pixels is not None and image.width * image.height > most_pixels:
                size = f"{image.width} x {image.height} pixels"
                raise DataError(f"{name}: {size} are more than the {most_pixels / 1e6:,.0f} million that are taken")
            if preview is not None:
                image.draft("RGB", (preview, preview))
            image.load()
            return as_rgb(ImageOps.exif_transpose(image))
    except UnidentifiedImageError as error:
        raise DataError(f"{name}: {_why_unknown(source)}") from error
    except DataError:
        raise
    except Exception as error:  # Pillow's decoders let through whatever a damaged file makes them raise
        raise DataError(f"{name}: {error}") from error


def _why_unknown(source: Path | BinaryIO) -> str:
    size = source.stat().st_size if isinstance(source, Path) else source.seek(0, 2)
    return "the file is empty" if size == 0 else "not an image that Pillow can read"
