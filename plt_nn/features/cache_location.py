"""Where features are cached: in a folder that outlives the run, or in memory."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plt_nn.features.feature_folder import CacheEntry, create, find, make_room, one_at_a_time, open_entry
from plt_nn.features.rows import RowStore, RowType
from plt_nn.text import byte_size

_RESERVE = 1 << 28  # bytes of a disk that remain free


class NoRoom(Exception):  # noqa: N818  # a finding rather than an error
    """There is no room for features; the text says why."""


@dataclass(frozen=True)
class CacheLocation:
    """Where features may be cached.

    Args:
        folder: The folder of all features; None for memory alone.
        most_on_disk: Bytes that the folder may take.
        most_in_memory: Bytes that the features of one loader may take in memory; of those in files, at a time.
    """

    folder: Path | None
    most_on_disk: int
    most_in_memory: int

    def find(self, key: str | None) -> CacheEntry | None:
        """The features of a key that were cached earlier.

        Args:
            key: The fingerprint of what they are computed from; None if it is unknown.
        """
        entry = find(self.folder, key) if self.folder is not None and key is not None else None
        try:
            return open_entry(entry, self.most_in_memory) if entry is not None else None
        except OSError:
            return None

    def make(
        self, key: str | None, size: int, types: Sequence[RowType], extra: Mapping[str, Any], about: Mapping[str, str]
    ) -> CacheEntry:
        """A new, empty entry for the features of a key, as for `find`; the other arguments are those of `create`.

        Raises:
            NoRoom: If they fit nowhere.
        """
        needed = size * (8 + sum(kind.nbytes for kind in types))
        reason = "nothing identifies these samples, so that they cannot be used again"
        if self.folder is not None and key is not None:
            try:
                with room_for(self.folder, key, needed, self.most_on_disk):
                    return open_entry(create(self.folder, key, size, types, extra, about), self.most_in_memory)
            except (OSError, NoRoom) as error:
                reason = str(error)
        if needed <= self.most_in_memory:
            return CacheEntry(RowStore(size, types), dict(extra))
        most = byte_size(self.most_in_memory)
        raise NoRoom(f"{byte_size(needed)} are more than the {most} allowed in memory, and {reason}")


@contextmanager
def room_for(folder: Path, key: str, needed: int, most_on_disk: int) -> Iterator[None]:
    """Makes room for the files of a key, and lets nobody remove them before they are open.

    Args:
        folder: The folder of all features; it is made.
        key: The fingerprint of what they are computed from.
        needed: Bytes.
        most_on_disk: Bytes that the folder may take.

    Raises:
        NoRoom: If there is no room.
        OSError: If the folder cannot be made.
    """
    with one_at_a_time(folder):
        if find(folder, key) is None:  # otherwise another process of this run has just made it
            over = make_room(folder, needed, most_on_disk)
            if over > 0:
                raise NoRoom(f"{folder} would be {byte_size(over)} over its limit")
            free = shutil.disk_usage(folder).free
            if free < needed + _RESERVE:
                raise NoRoom(f"the disk of {folder} has {byte_size(free)} left")
        yield
