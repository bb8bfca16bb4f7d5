"""Rows of tensors that are computed once: in memory, or in files that all processes of a machine share."""

import errno
import mmap
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import torch
from torch import Tensor

MARKS = "marks.bin"
_ABSENT = 0


class RowType(NamedTuple):
    """The shape of one row, without the first dimension, and its dtype."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def nbytes(self) -> int:
        """Bytes of a row."""
        return self.dtype.itemsize * torch.Size(self.shape).numel()


class RowStore:
    """A row for each sample in each of several tensors; a row is there once it was put.

    Each row has a mark: a checksum of what it holds. A row that is damaged, or of which only a part had reached the
    disk when the machine stopped, does not match its mark, and counts as absent. Processes that read and write the same
    files need no other synchronisation. Methods take the numbers of rows, int64 `(N,)`.

    Args:
        size: Number of rows.
        types: What a row consists of.
        folder: Where the files are, or will be made. Default: the rows are in memory.
        most_in_memory: Bytes of the files that are held in memory at a time.

    Raises:
        OSError: If the files cannot be made or read.
    """

    def __init__(
        self, size: int, types: Sequence[RowType], folder: Path | None = None, most_in_memory: int = 1 << 30
    ) -> None:
        self.size, self.types, self.folder = size, tuple(types), folder
        paths = [folder / f"column{number}.bin" if folder else None for number in range(len(self.types))]
        self._columns = [_Column(size, kind, path) for kind, path in zip(self.types, paths, strict=True)]
        self._marks = _Column(size, RowType((), torch.int64), folder / MARKS if folder else None)
        self._checked = torch.zeros(size, dtype=torch.bool)  # rows that this process has found to match their marks
        self.damaged = 0
        self._most_in_memory, self._touched = most_in_memory, 0

    @property
    def row_nbytes(self) -> int:
        """Bytes of a row of all tensors together."""
        return sum(kind.nbytes for kind in self.types)

    @property
    def nbytes(self) -> int:
        """Bytes of all rows."""
        return self.size * self.row_nbytes

    def count(self) -> int:
        """How many rows are there."""
        return int((self._marks.rows != _ABSENT).sum())

    def has(self, rows: Tensor) -> bool:
        """Whether all of some rows are there, and undamaged."""
        unchecked = rows[~self._checked[rows]]
        if len(unchecked) == 0:
            return True
        marks = self._marks.rows[unchecked]
        if bool((marks == _ABSENT).any()):
            return False
        found = _marks_of([column.rows[unchecked] for column in self._columns])
        self._release(len(unchecked))
        wrong = unchecked[found != marks]
        if len(wrong):
            self.damaged += len(wrong)
            self._marks.write(wrong, torch.full((len(wrong),), _ABSENT))
            return False
        self._checked[unchecked] = True
        return True

    def get(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Copies of some rows, tensors `(N, ...)`; they must be there."""
        copies = tuple(column.rows.index_select(0, rows) for column in self._columns)
        self._release(len(rows))
        return copies

    def put(self, rows: Tensor, tensors: Sequence[Tensor]) -> None:
        """Stores rows, tensors `(N, ...)` of the store's types on any device.

        Raises:
            OSError: If the disk is full.
            ValueError: If they are not of the store's types.
        """
        for tensor, kind in zip(tensors, self.types, strict=True):
            if tensor.shape != (len(rows), *kind.shape):  # it would overwrite other rows
                raise ValueError(f"rows of shape {tuple(tensor.shape[1:])}, expected {len(rows)} of {kind.shape}")
        self._checked[rows] = False
        values = [
            tensor.detach().to("cpu", kind.dtype).contiguous() for tensor, kind in zip(tensors, self.types, strict=True)
        ]
        for column, value in zip(self._columns, values, strict=True):
            column.write(rows, value)
        self._marks.write(rows, _marks_of(values))
        self._checked[rows] = True

    def close(self) -> None:
        """Closes the files, and frees the memory."""
        for column in [*self._columns, self._marks]:
            column.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _release(self, rows: int) -> None:
        """Frees the memory of rows read from files once they are too many; they are read again when needed."""
        self._touched += rows * self.row_nbytes
        if self._touched > self._most_in_memory < self.nbytes:
            self._touched = 0
            for column in self._columns:
                column.release()


class _Column:
    """Rows of one tensor: in memory, or in a file that is written by system calls and read as memory.

    Args:
        size: Number of rows.
        kind: What a row is.
        path: The file, which is made if it is missing; its rows are zeros at first. None: in memory.
    """

    def __init__(self, size: int, kind: RowType, path: Path | None) -> None:
        self._descriptor, self._map, shape = -1, None, (size, *kind.shape)
        if path is not None:
            self._descriptor, nbytes = os.open(path, os.O_RDWR | os.O_CREAT, 0o644), size * kind.nbytes
            if os.fstat(self._descriptor).st_size < nbytes:  # reading beyond a file's end would kill the process
                os.ftruncate(self._descriptor, nbytes)
            self._map = mmap.mmap(self._descriptor, nbytes) if nbytes else None
        if self._map is None:
            self.rows = torch.zeros(shape, dtype=kind.dtype)
        else:
            self.rows = torch.frombuffer(self._map, dtype=kind.dtype).view(shape)

    def write(self, rows: Tensor, values: Tensor) -> None:
        """Writes rows.

        Raises:
            OSError: If the disk is full.
        """
        if self._descriptor < 0:
            self.rows[rows] = values
            return
        contents = row_bytes(values).numpy()
        for row, content in zip(rows.tolist(), contents, strict=True):  # with a full disk, writing to a map would kill
            if os.pwrite(self._descriptor, content.data, row * content.nbytes) < content.nbytes:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def release(self) -> None:
        """Frees the memory of what was read from the file."""
        if self._map is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)

    def close(self) -> None:
        """Closes the file; its map ends with the last tensor that uses it."""
        self.rows, self._map = torch.empty(0), None
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _marks_of(columns: Sequence[Tensor]) -> Tensor:
    """The mark of each row, never that of an absent row."""
    marks = torch.zeros(len(columns[0]), dtype=torch.int64)
    for column in columns:
        marks = marks * 31 + row_checksums(column)
    return torch.where(marks == _ABSENT, 1, marks)


def row_checksums(rows: Tensor) -> Tensor:
    """The CRC-32 of each row's bytes, int64 `(N,)`; never 0.

    It detects any change of up to 32 adjacent bits in a row, and any other with a chance of all but one in 2^32. Sums
    with random weights are faster, but overlook pairs of changed signs.

    Args:
        rows: A tensor `(N, ...)` of any dtype on the CPU.
    """
    return torch.tensor([zlib.crc32(content.data) | 1 << 32 for content in row_bytes(rows).numpy()], dtype=torch.int64)


def row_bytes(rows: Tensor) -> Tensor:
    """The bytes of each row, uint8 `(N, bytes)`."""
    width = rows[:1].numel() * rows.element_size()
    return rows.contiguous().reshape(-1).view(torch.uint8).view(len(rows), width)
