"""Removes spools that were delivered a while ago."""

import shutil
import time
from pathlib import Path

from plt_nn.tracking.spool.folder import spool_folders
from plt_nn.tracking.spool.locks import ProcessLock
from plt_nn.tracking.upload.state import load_state

LIFETIME = 7 * 24 * 3600.0  # seconds from delivery to removal


def prune(store: Path, lifetime: float = LIFETIME) -> list[str]:
    """Removes a store's spools some seconds after they were delivered, unless something was refused or is missing.

    Returns:
        The names of those removed.
    """
    removed: list[str] = []
    for folder in spool_folders(store):
        state = load_state(folder.state)
        is_old = state.finished_at is not None and time.time() - state.finished_at > lifetime
        is_needed = folder.size() > state.offset or state.refused or state.missing
        if not is_old or is_needed or folder.writer_is_alive():
            continue
        lock = ProcessLock(folder.writer_lock)  # so that nobody resumes the run meanwhile
        if lock.take():
            shutil.rmtree(folder.root, ignore_errors=True)
            lock.release()
            removed.append(folder.root.name)
    return removed
