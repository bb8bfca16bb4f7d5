"""One pass over the image files: each is read once, and what an audit needs of it is stored in arrays."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from plt_nn.data.class_folders import Sample
from plt_nn.data.hashes import HASH_BYTES, content_hash
from plt_nn.data.image_check import usable_cores
from plt_nn.errors import DataError
from plt_nn.inference.images import decode_image

THUMBNAIL = 16  # pixels a side: enough to tell whether two images with near perceptual hashes are the same
HASH_BITS = 64
_DECODED = 64  # pixels a side of what is hashed; a larger JPEG is decoded smaller, which costs a fraction
_AT_ONCE = 512  # files; their facts are stored before the next ones are read
_ORIENTATION, _ON_ITS_SIDE = 0x0112, (5, 6, 7, 8)


@dataclass(frozen=True)
class ScannedImages:
    """The facts about the image files, in arrays with a row for each.

    Attributes:
        paths: The files.
        split_names: The names of the split codes.
        splits: The split code of each, `(N,)`.
        labels: The class code of each, `(N,)`.
        reasons: Row -> why the file cannot be read.
        sizes: Width and height upright in pixels, `(N, 2)`; 0 where the file cannot be read.
        modes: Pillow's name for the kind of pixels, such as `RGB`, `L` or `CMYK`; empty where it cannot be read.
        contents: The hash of each file's bytes, `(N,)`; empty where it cannot be read.
        bits: The perceptual hash of each, `(N, 64)` bool.
        thumbnails: RGB, uint8 `(N, 16, 16, 3)`.
    """

    paths: list[Path]
    split_names: list[str]
    splits: NDArray[np.int64]
    labels: NDArray[np.int64]
    reasons: dict[int, str]
    sizes: NDArray[np.int32]
    modes: list[str]
    contents: NDArray[np.bytes_]
    bits: NDArray[np.bool_]
    thumbnails: NDArray[np.uint8]

    @cached_property
    def readable(self) -> NDArray[np.bool_]:
        """Whether each file can be read, `(N,)`."""
        readable = np.ones(len(self.paths), dtype=np.bool_)
        readable[list(self.reasons)] = False
        return readable

    @cached_property
    def grey(self) -> NDArray[np.bool_]:
        """Whether each image shows no colour, whatever its mode, `(N,)`."""
        spread = self.thumbnails.max(-1) - self.thumbnails.min(-1)  # of uint8, the largest less the smallest
        return np.asarray(self.readable & (spread.max((1, 2)) <= 2))

    @cached_property
    def flat(self) -> NDArray[np.bool_]:
        """Whether each image shows nothing but one colour, `(N,)`."""
        extent = self.thumbnails.max((1, 2)) - self.thumbnails.min((1, 2))
        return np.asarray(self.readable & (extent.max(-1) <= 4))


class _Facts(NamedTuple):
    """The facts about one file."""

    content: bytes
    size: tuple[int, int]
    mode: str
    bits: NDArray[np.bool_]
    thumbnail: NDArray[np.uint8]


def scan_images(
    samples: Mapping[str, Sequence[Sample]], progress: Callable[[int], object] = lambda count: None
) -> ScannedImages:
    """Reads every file, several at a time.

    Args:
        samples: Split name -> its files with the codes of their classes.
        progress: Called with the number of files read since the last call.
    """
    names = list(samples)
    rows = [(path, code, split) for split, name in enumerate(names) for path, code in samples[name]]
    count = len(rows)
    scanned = ScannedImages(
        paths=[path for path, _, _ in rows],
        split_names=names,
        splits=np.array([split for _, _, split in rows], dtype=np.int64),
        labels=np.array([code for _, code, _ in rows], dtype=np.int64),
        reasons={},
        sizes=np.zeros((count, 2), dtype=np.int32),
        modes=[""] * count,
        contents=np.zeros(count, dtype=f"S{HASH_BYTES}"),
        bits=np.zeros((count, HASH_BITS), dtype=np.bool_),
        thumbnails=np.zeros((count, THUMBNAIL, THUMBNAIL, 3), dtype=np.uint8),
    )
    with ThreadPoolExecutor(max_workers=usable_cores()) as pool, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")  # of odd EXIF data and the like; what matters is an error
        for begin in range(0, count, _AT_ONCE):
            paths = scanned.paths[begin : begin + _AT_ONCE]
            for row, facts in enumerate(pool.map(_facts_of, paths), begin):
                if isinstance(facts, str):
                    scanned.reasons[row] = facts
                    continue
                scanned.contents[row], scanned.sizes[row], scanned.modes[row] = facts.content, facts.size, facts.mode
                scanned.bits[row], scanned.thumbnails[row] = facts.bits, facts.thumbnail
            progress(len(paths))
    return scanned


def thumbnail_of(image: Image.Image, side: int) -> Image.Image:
    """An image made small enough for a square of a side in pixels, with its proportions."""
    return ImageOps.contain(image, (side, side), Image.Resampling.BILINEAR)


def _facts_of(path: Path) -> _Facts | str:
    """The facts about a file, or why it cannot be read."""
    try:
        content = path.read_bytes()
        image = decode_image(content, preview=_DECODED)
        with Image.open(BytesIO(content)) as header:
            mode, (width, height) = header.mode, header.size
            if header.getexif().get(_ORIENTATION) in _ON_ITS_SIDE:
                width, height = height, width
    except OSError as error:
        return error.strerror or str(error)
    except DataError as error:
        return str(error).removeprefix("the image: ")
    small = np.asarray(image.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR))
    bits = np.asarray(imagehash.phash(image).hash).ravel()
    return _Facts(content_hash(content), (width, height), mode, bits, small)
