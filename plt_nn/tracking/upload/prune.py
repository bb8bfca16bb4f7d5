"""Drops what has been delivered for good."""

import shutil
import time
from pathlib import Path

from plt_nn.tracking.spool.folder import spool_folders
from plt_nn.tracking.spool.locks import ProcessLock
from plt_nn.tracking.upload.state import load_state

KEPT = 7 * 24 * 3600.0  # seconds after which a spool that is delivered is dropped


def prune(store: Path, kept: float = KEPT) -> list[str]:
    """Drops the spools that have been delivered for a while, but for those with something to tell.

    Args:
        store: The folder of the store.
        kept: For how many seconds a delivered spool is kept.

    Returns:
        The names of those dropped.
    """
    dropped: list[str] = []
    for folder in spool_folders(store):
        state = load_state(folder.state)
        is_old = state.finished_at is not None and time.time() - state.finished_at > kept
        has_more = folder.size() > state.offset or state.refused or state.missing
        if not is_old or has_more or folder.writer_is_alive():
            continue
        lock = ProcessLock(folder.writer_lock)  # so that nobody resumes the run at this moment
        if lock.take():
            shutil.rmtree(folder.root, ignore_errors=True)
            lock.release()
            dropped.append(folder.root.name)
    return dropped
