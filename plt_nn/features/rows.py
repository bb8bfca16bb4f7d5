"""Rows of tensors that are computed once: in memory, or in files that all processes of a machine share."""

import errno
import mmap
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import torch
from torch import Tensor

from plt_nn.features.checksums import row_bytes, row_checksums

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
    """As many rows as there are samples, for each of some tensors; a row is there once it was put.

    Each row has a mark: a checksum of what it holds. A row of which only a part has reached the disk when the machine
    stopped, or that is damaged, does not match its mark, and is as good as absent; nothing else keeps the processes
    that write and read the same files in order, and nothing else has to.

    Args:
        size: Number of rows.
        types: What a row is made of.
        folder: Where the files are, or are to be made. Default: the rows are in memory.
        most_in_memory: Bytes of the files that are held in memory at a time.

    Raises:
        OSError: If the files cannot be made or read.
    """

    def __init__(
        self, size: int, types: Sequence[RowType], folder: Path | None = None, most_in_memory: int = 1 << 30
    ) -> None:
        self.size, self.types, self.folder = size, tuple(types), folder
        columns = [(size * kind.nbytes, f"column{number}.bin") for number, kind in enumerate(self.types)]
        self._files = [_File(folder / name, count) if folder else None for count, name in columns]
        marks = _File(folder / MARKS, size * 8) if folder else None
        self._marks_file = marks
        self._marks = marks.tensor(torch.int64, (size,)) if marks else torch.zeros(size, dtype=torch.int64)
        self._columns = [
            file.tensor(kind.dtype, (size, *kind.shape)) if file else torch.empty(size, *kind.shape, dtype=kind.dtype)
            for file, kind in zip(self._files, self.types, strict=True)
        ]
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
        return int((self._marks != _ABSENT).sum())

    def has(self, rows: Tensor) -> bool:
        """Whether all of some rows are there, and whole.

        Args:
            rows: Their numbers, int64 `(N,)`.
        """
        unchecked = rows[~self._checked[rows]]
        if len(unchecked) == 0:
            return True
        marks = self._marks[unchecked]
        if bool((marks == _ABSENT).any()):
            return False
        found = _marks_of([column[unchecked] for column in self._columns])
        self._touched += len(unchecked) * self.row_nbytes
        self._release()
        wrong = unchecked[found != marks]
        if len(wrong):
            self.damaged += len(wrong)
            self._mark(wrong, torch.full((len(wrong),), _ABSENT))
            return False
        self._checked[unchecked] = True
        return True

    def get(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Copies of some rows, tensors `(N, ...)`; they must be there.

        Args:
            rows: Their numbers, int64 `(N,)`.
        """
        copies = tuple(column.index_select(0, rows) for column in self._columns)
        self._touched += len(rows) * self.row_nbytes
        self._release()
        return copies

    def put(self, rows: Tensor, tensors: Sequence[Tensor]) -> None:
        """Keeps rows.

        Args:
            rows: Their numbers, int64 `(N,)`.
            tensors: What they hold, tensors `(N, ...)` of the store's types, on any device.

        Raises:
            OSError: If the disk is full.
            ValueError: If they are not of the store's types.
        """
        for tensor, kind in zip(tensors, self.types, strict=True):
            if tensor.shape != (len(rows), *kind.shape):  # it would be written over other rows
                raise ValueError(f"rows of shape {tuple(tensor.shape[1:])}, expected {len(rows)} of {kind.shape}")
        self._checked[rows] = False
        values = [
            tensor.detach().to("cpu", kind.dtype).contiguous() for tensor, kind in zip(tensors, self.types, strict=True)
        ]
        for column, file, value in zip(self._columns, self._files, values, strict=True):
            if file is None:
                column[rows] = value
            else:  # a mapped file is never written to: with a full disk that would kill the process
                file.write_rows(rows, value)
        self._mark(rows, _marks_of(values))
        self._checked[rows] = True

    def close(self) -> None:
        """Lets go of the rows; the files stay."""
        self._columns, self._marks = [], torch.empty(0, dtype=torch.int64)
        for file in [*self._files, self._marks_file]:
            if file is not None:
                file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _release(self) -> None:
        """Gives back the memory of what was read from files if it is too much; it is read again when it is needed."""
        if not self._touched > self._most_in_memory < self.nbytes:
            return
        self._touched = 0
        for file in self._files:
            if file is not None:
                file.release()

    def _mark(self, rows: Tensor, marks: Tensor) -> None:
        if self._marks_file is None:
            self._marks[rows] = marks
        else:
            self._marks_file.write_rows(rows, marks)


class _File:
    """A file of a fixed size, written by system calls and read as memory.

    Args:
        path: The file; it is made, full of zeros, if it is not there.
        size: Its size in bytes.
    """

    def __init__(self, path: Path, size: int) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        found = os.fstat(self._descriptor).st_size
        if found < size:  # reading beyond a file's end would kill the process
            os.ftruncate(self._descriptor, size)
        self._map = mmap.mmap(self._descriptor, size) if size else None

    def tensor(self, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
        """The file as a tensor that is only to be read."""
        if self._map is None:
            return torch.empty(shape, dtype=dtype)
        return torch.frombuffer(self._map, dtype=dtype, count=torch.Size(shape).numel()).view(shape)

    def write_rows(self, rows: Tensor, values: Tensor) -> None:
        """Writes a row at each number."""
        flat = row_bytes(values)
        for row, content in zip(rows.tolist(), flat.numpy(), strict=True):
            written = os.pwrite(self._descriptor, content.data, row * flat.shape[1])
            if written < flat.shape[1]:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def release(self) -> None:
        """Gives back the memory of what was read."""
        if self._map is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)

    def close(self) -> None:
        """Closes the file; the mapping ends with the last tensor that uses it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _marks_of(columns: Sequence[Tensor]) -> Tensor:
    """The mark of each row, never the one of an absent row."""
    marks = torch.zeros(len(columns[0]), dtype=torch.int64)
    for column in columns:
        marks = marks * 31 + row_checksums(column)
    return torch.where(marks == _ABSENT, 1, marks)
