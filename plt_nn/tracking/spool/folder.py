"""The name of a run, and where the files of its spool lie."""

import calendar
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from plt_nn.files import InFolder
from plt_nn.tracking.spool.locks import is_held

SPOOL = "spool"  # in a store's folder
UID_PATTERN = r"\d{8}-\d{6}-[0-9a-f]{8}"


def new_uid() -> str:
    """A name for a run: the time in UTC and eight random digits, such as `20261124-133254-1f2e3d4c`."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(4)}"


def start_of(uid: str) -> int:
    """When a run was named; seconds since 1970."""
    return calendar.timegm(time.strptime(uid[:15], "%Y%m%d-%H%M%S"))


@dataclass(frozen=True)
class SpoolFolder:
    """The folder of a run's spool, `STORE/spool/UID`; each further machine has its own, such as `UID.node1`."""

    root: Path  # absolute
    events = InFolder("events.jsonl")  # what was logged, one event a line; only the training process writes, at the end
    files = InFolder("files")  # artifacts that wait for delivery
    reserve = InFolder("reserve")  # space on the disk that is set aside for the run's end
    writer_lock = InFolder("writer.lock")  # held by the process that logs
    state = InFolder("state.json")  # how far delivery has come; only the uploader writes, and always whole
    quarantine = InFolder("quarantine.jsonl")  # events that MLflow refuses, each with the reason
    log = InFolder("uploader.log")  # what the uploader prints
    uploader_lock = InFolder("uploader.lock")  # held by the process that delivers
    handover = InFolder("handover")  # exists while a process wants to deliver in place of one that fails

    @property
    def store(self) -> Path:
        """The folder of the store that the spool is part of."""
        return self.root.parent.parent

    @property
    def uid(self) -> str:
        """The run's uid."""
        return self.root.name.partition(".")[0]

    def size(self) -> int:
        """Bytes of events so far."""
        return self.events.stat().st_size if self.events.exists() else 0

    def writer_is_alive(self) -> bool:
        """Whether the process that logs is still running."""
        return is_held(self.writer_lock)

    def uploader_is_alive(self) -> bool:
        """Whether a process is delivering."""
        return is_held(self.uploader_lock)


def spool_folders(store: Path) -> Iterator[SpoolFolder]:
    """The spools of a store in the order of their uids, which begin with the time."""
    for root in sorted((store / SPOOL).glob("*")):
        if (folder := SpoolFolder(root)).events.is_file():
            yield folder
