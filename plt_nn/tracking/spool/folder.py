"""Where the files of a spool lie, and who is at work on it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from plt_nn.tracking.spool.locks import is_held


@dataclass(frozen=True)
class SpoolFolder:
    """The folder of a run's spool, `STORE/spool/UID`; machines beyond the first have their own, `UID.node1` and so on.

    Args:
        root: The folder, absolute.
    """

    root: Path

    @property
    def events(self) -> Path:
        """What was logged, one event a line; only the training process writes, and only at the end."""
        return self.root / "events.jsonl"

    @property
    def files(self) -> Path:
        """Artifacts that wait for delivery."""
        return self.root / "files"

    @property
    def state(self) -> Path:
        """How far delivery has come; only the uploader writes, and always whole."""
        return self.root / "state.json"

    @property
    def reserve(self) -> Path:
        """A piece of the disk that is kept for the run's end."""
        return self.root / "reserve"

    @property
    def quarantine(self) -> Path:
        """Events that MLflow refuses for good, each with the reason."""
        return self.root / "quarantine.jsonl"

    @property
    def log(self) -> Path:
        """What the uploader says."""
        return self.root / "uploader.log"

    @property
    def writer_lock(self) -> Path:
        """Held by the process that logs."""
        return self.root / "writer.lock"

    @property
    def uploader_lock(self) -> Path:
        """Held by the process that delivers."""
        return self.root / "uploader.lock"

    @property
    def handover(self) -> Path:
        """There while a process wants to deliver in place of one that fails."""
        return self.root / "handover"

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
        """Whether the process that logs is still there."""
        return is_held(self.writer_lock)

    def uploader_is_alive(self) -> bool:
        """Whether a process is delivering."""
        return is_held(self.uploader_lock)


def spool_folders(store: Path) -> Iterator[SpoolFolder]:
    """The spools of a store in the order of their uids, which begin with the time."""
    root = store / "spool"
    for folder in sorted(root.iterdir()) if root.is_dir() else []:
        if (folder / "events.jsonl").is_file():
            yield SpoolFolder(folder)
