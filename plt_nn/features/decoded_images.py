"""Decoded images of any size, in one file that all processes of a machine share."""

import errno
import fcntl
import os
import struct
import tempfile
import warnings
import weakref
import zlib
from multiprocessing import reduction
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

IMAGES = "images.bin"
_HEAD = struct.Struct("<4q")  # where an image begins, its height and width, and its mark


class DecodedImages:
    """8-bit RGB images by number; an image is there once it was put.

    Any number of processes, such as a loader's workers, may read and put at a time. An image has a checksum of its
    position, size and pixels as a mark: an image that is damaged, or that a killed process had half written, does not
    match it, and counts as absent. Once the file is full no more is put. It is closed, and its memory is freed, when
    nothing references this any more.

    Args:
        size: Number of images.
        most: Bytes that they may take.
        folder: Where the file is, or will be made. Default: in memory, shared with processes that are started.

    Raises:
        OSError: If the file cannot be made.
    """

    def __init__(self, size: int, most: int, folder: Path | None = None) -> None:
        self.size, self.most, self.folder = size, most, folder
        self._hold(_in_memory() if folder is None else os.open(folder / IMAGES, os.O_RDWR | os.O_CREAT, 0o644))
        self._reserve(0)

    def _hold(self, file: int) -> None:
        self._file, self._begin, self._is_full = file, self.size * _HEAD.size, False
        self.close = weakref.finalize(self, os.close, file)

    def get(self, number: int) -> Tensor | None:
        """An image, uint8 `(H, W, 3)`; None if it is absent or damaged."""
        head = os.pread(self._file, _HEAD.size, number * _HEAD.size)
        if len(head) < _HEAD.size:
            return None
        at, height, width, mark = _HEAD.unpack(head)
        if min(at, height, width) < 1:
            return None
        pixels = bytearray(os.pread(self._file, height * width * 3, at))
        if mark != _mark(at, height, width, pixels) or len(pixels) < height * width * 3:
            return None
        return torch.frombuffer(pixels, dtype=torch.uint8).view(height, width, 3)

    def put(self, number: int, image: Tensor) -> bool:
        """Stores an image, uint8 `(H, W, 3)`.

        Returns:
            Whether there was room for it.
        """
        height, width, _ = image.shape
        pixels = image.contiguous().numpy().reshape(-1).data
        try:
            at = None if self._is_full else self._reserve(len(pixels))
            if at is None:
                self._is_full = True
                return False
            self._write(pixels, at)
            self._write(_HEAD.pack(at, height, width, _mark(at, height, width, pixels)), number * _HEAD.size)
        except OSError as error:  # the disk is full: what is there is still good
            warnings.warn(f"No more decoded images are cached: {error.strerror}.", stacklevel=2)
            self._is_full = True
            return False
        return True

    def count(self) -> int:
        """How many images are there."""
        return _count(os.pread(self._file, self._begin, 0))

    def _reserve(self, count: int) -> int | None:
        """Where the next bytes may be written; None if there is no room for them."""
        fcntl.lockf(self._file, fcntl.LOCK_EX, 1)  # of a process: descriptors that workers inherit do not share it
        try:
            at = max(os.fstat(self._file).st_size, self._begin)
            if at + count > max(self.most, self._begin):
                return None
            os.ftruncate(self._file, at + count)
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1)
        return at

    def _write(self, content: Any, at: int) -> None:
        if os.pwrite(self._file, content, at) < len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def __reduce__(self) -> tuple[Any, ...]:
        """For workers that are spawned."""
        if self.folder is not None:
            return DecodedImages, (self.size, self.most, self.folder)
        duplicate: Any = reduction.DupFd(self._file)
        return DecodedImages._inherited, (self.size, self.most, duplicate)

    @classmethod
    def _inherited(cls, size: int, most: int, duplicate: Any) -> Self:
        made = cls.__new__(cls)
        made.size, made.most, made.folder = size, most, None
        made._hold(duplicate.detach())
        return made


def count_images(path: Path, size: int) -> int:
    """How many of the `size` images of a file are there."""
    with path.open("rb") as file:
        return _count(file.read(size * _HEAD.size))


def _count(heads: bytes) -> int:
    whole = len(heads) // _HEAD.size * _HEAD.size
    return sum(at > 0 for at, _, _, _ in _HEAD.iter_unpack(heads[:whole]))


def _mark(at: int, height: int, width: int, pixels: Any) -> int:
    return zlib.crc32(pixels, zlib.crc32(struct.pack("<3q", at, height, width)))


def _in_memory() -> int:
    """A file without a name, in memory where the system has such files; else on disk."""
    if hasattr(os, "memfd_create"):  # is not bound to the size of /dev/shm, which is small in containers
        return os.memfd_create("decoded images")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
