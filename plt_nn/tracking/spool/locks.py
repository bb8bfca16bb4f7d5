"""Locks that say whether the process that took them is alive."""

import errno
import fcntl
import os
import time
from pathlib import Path

_TRIES = 20  # a few milliseconds apart: whoever looks whether a lock is held has it for a moment

_held: set[str] = set()  # a lock does not exclude its own process, and closing any descriptor of its file frees it


class ProcessLock:
    """A lock on a file that lasts until it is released or its process is gone, however it went.

    It is a POSIX record lock: a process forked from the holder (a loader's worker) does not keep it, it works between
    the machines of a network file system, and no number of a process can be mistaken for that of a later one.

    Args:
        path: The file; it is made when the lock is taken, and stays.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None
        self._owner = 0

    def take(self) -> bool:
        """Takes the lock if no process has it.

        Returns:
            Whether it was free. A file system without locks says yes to everyone.
        """
        key = str(self.path.resolve())
        if key in _held:
            return False
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not _lock_soon(descriptor):
            os.close(descriptor)
            return False
        self._descriptor, self._owner = descriptor, os.getpid()
        _held.add(key)
        return True

    def release(self) -> None:
        """Frees the lock, if this process has it."""
        if self._descriptor is not None and self._owner == os.getpid():
            _held.discard(str(self.path.resolve()))
            os.close(self._descriptor)
        self._descriptor = None


def is_held(path: Path) -> bool:
    """Whether a process that is alive, this one included, holds the lock on a file."""
    if not path.exists():
        return False
    if str(path.resolve()) in _held:
        return True
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        return not _lock(descriptor)
    finally:
        os.close(descriptor)


def forget_after_fork() -> None:
    """In a forked child: what the parent holds is not held by the child."""
    _held.clear()


def _lock_soon(descriptor: int) -> bool:
    for _ in range(_TRIES):
        if _lock(descriptor):
            return True
        time.sleep(0.003)
    return False


def _lock(descriptor: int) -> bool:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            return False
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP):
            raise
    return True


os.register_at_fork(after_in_child=forget_after_fork)
