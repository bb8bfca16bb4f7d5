"""The folder of stored features: a folder for each key, created atomically, shared by processes, limited in size."""

import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from plt_nn.features.decoded_images import IMAGES, count_images
from plt_nn.features.rows import MARKS, RowStore, RowType

META = "meta.json"
MORE_BYTES = "more_bytes"  # in `extra`: bytes that an entry takes besides its rows
VERSION = 1


@dataclass(frozen=True)
class FeatureEntry:
    """Stored features.

    Args:
        key: The fingerprint of what they were computed from.
        folder: Where they are.
        size: Number of rows.
        nbytes: Bytes that they take when they are complete.
        types: What a row consists of.
        extra: What else is needed to use them.
        about: What they are, in words.
        used: When they were last used; seconds since 1970.
    """

    key: str
    folder: Path
    size: int
    nbytes: int
    types: tuple[RowType, ...]
    extra: dict[str, Any]
    about: dict[str, str]
    used: float

    def rows(self) -> int:
        """How many rows, or images, are there."""
        try:
            if (self.folder / IMAGES).exists():
                return count_images(self.folder / IMAGES, self.size)
            return int(np.count_nonzero(np.fromfile(self.folder / MARKS, np.int64)))
        except OSError:
            return 0

    def is_in_use(self) -> bool:
        """Whether a process has them open."""
        try:
            with (self.folder / META).open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False


class CacheEntry:
    """Features in use: in memory, or in files, which nobody removes to make room while they are open.

    Args:
        store: Their rows.
        extra: What else is needed to use them.
        files: Their files. Default: they are in memory.
        lock: What keeps others from removing the files.
    """

    def __init__(
        self, store: RowStore, extra: dict[str, Any], files: FeatureEntry | None = None, lock: IO[bytes] | None = None
    ) -> None:
        self.store, self.extra, self.files, self._lock = store, extra, files, lock

    def close(self) -> None:
        """Closes the files, or frees the memory."""
        self.store.close()
        if self._lock is not None:
            self._lock.close()

    def discard(self) -> None:
        """Closes and removes the files, so that the features are never used again."""
        self.close()
        if self.files is not None:
            remove(self.files)


def open_entry(files: FeatureEntry, most_in_memory: int) -> CacheEntry:
    """Opens stored features, of which at most so many bytes are held in memory at a time."""
    lock = (files.folder / META).open("rb")
    fcntl.flock(lock, fcntl.LOCK_SH)
    os.utime(files.folder / META)  # the least recently used are removed first
    return CacheEntry(RowStore(files.size, files.types, files.folder, most_in_memory), files.extra, files, lock)


def features_root(loggers: Iterable[object]) -> Path:
    """The folder of all features in the store of the first logger that has one, else `mlruns/features`."""
    folders = [getattr(logger, "features_dir", None) for logger in loggers]
    return next((folder for folder in folders if isinstance(folder, Path)), Path("mlruns", "features"))


def entries(root: Path) -> list[FeatureEntry]:
    """The features stored under a folder, the least recently used first, without damaged ones."""
    found = [_read(folder) for folder in root.iterdir()] if root.is_dir() else []
    return sorted((entry for entry in found if entry is not None), key=lambda entry: entry.used)


def find(root: Path, key: str) -> FeatureEntry | None:
    """The features of a key; None if there are none."""
    return _read(root / key)


def create(
    root: Path, key: str, size: int, types: Sequence[RowType], extra: Mapping[str, Any], about: Mapping[str, str]
) -> FeatureEntry:
    """Creates the files of a key's features, unless another process has just done so.

    Files that are damaged or of another version are removed; if there may be some, call it within `one_at_a_time`.

    Args:
        root: The folder of all features.
        key: The fingerprint of what they are computed from.
        size: Number of rows.
        types: What a row consists of.
        extra: What else is needed to use them; plain values.
        about: What they are, in words.

    Raises:
        OSError: If they cannot be created.
    """
    root.mkdir(parents=True, exist_ok=True)
    if (root / key).exists():  # asked first: what another process creates meanwhile is complete
        there = find(root, key)
        if there is None or (there.size, there.types) != (size, tuple(types)):
            shutil.rmtree(root / key, ignore_errors=True)  # damaged, or of another version
    partial = Path(tempfile.mkdtemp(prefix=f".{key[:8]}-", dir=root))
    kinds = [{"shape": list(kind.shape), "dtype": str(kind.dtype).removeprefix("torch.")} for kind in types]
    meta = {"version": VERSION, "size": size, "types": kinds, "extra": dict(extra), "about": dict(about)}
    try:
        (partial / META).write_text(json.dumps(meta, indent=1))
        RowStore(size, types, partial).close()
        partial.chmod(0o755)
        partial.rename(root / key)
    except OSError:
        shutil.rmtree(partial, ignore_errors=True)
        if find(root, key) is None:
            raise
    entry = find(root, key)
    if entry is None:
        raise OSError(f"{root / key} is not what was just made there")
    return entry


@contextmanager
def one_at_a_time(root: Path) -> Iterator[None]:
    """Lets one process at a time make room in a folder, which is created, and open files before they are removed."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def remove(entry: FeatureEntry) -> None:
    """Removes features; a process that has them open can still use them."""
    shutil.rmtree(entry.folder, ignore_errors=True)


def make_room(root: Path, needed: int, most: int) -> int:
    """Removes the least recently used features that nobody has open, until as many bytes as are needed fit in.

    Args:
        root: The folder of all features.
        needed: Bytes.
        most: Bytes that all may take.

    Returns:
        How many bytes are still over the limit; 0 if all fit.
    """
    _remove_leftovers(root)
    stored = entries(root)
    over = sum(entry.nbytes for entry in stored) + needed - most
    for entry in stored:
        if over <= 0:
            break
        if not entry.is_in_use():
            remove(entry)
            over -= entry.nbytes
    return max(over, 0)


def _remove_leftovers(root: Path) -> None:
    """Removes, a day later, what a killed process had not completed."""
    for folder in root.glob(".*-*"):
        if time.time() - folder.stat().st_mtime > 24 * 3600:
            shutil.rmtree(folder, ignore_errors=True)


def _read(folder: Path) -> FeatureEntry | None:
    try:
        meta = json.loads((folder / META).read_text())
        if meta["version"] != VERSION or folder.name.startswith("."):
            return None
        types = tuple(RowType(tuple(kind["shape"]), getattr(torch, kind["dtype"])) for kind in meta["types"])
        used = (folder / META).stat().st_mtime
        size = int(meta["size"])
        nbytes = size * (8 + sum(kind.nbytes for kind in types)) + int(meta["extra"].get(MORE_BYTES, 0))
        return FeatureEntry(folder.name, folder, size, nbytes, types, meta["extra"], meta["about"], used)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
