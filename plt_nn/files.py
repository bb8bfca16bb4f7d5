"""Files that appear whole or not at all, second names for files, tables of file names. Standard library only."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol


class InFolder:
    """An attribute of an object with a `root`: the path of a file or folder in it. `log = InFolder("uploader.log")`."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, owner: "_HasRoot", _: type) -> Path:
        return owner.root / self._name


class _HasRoot(Protocol):
    @property
    def root(self) -> Path: ...


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Gives a path beside `path` to write to; what is there when the block ends replaces `path`.

    A reader sees the old file or the new one, never half of one. After an error the old file stays.

    Args:
        path: The file; its folder must exist. The temporary name ends as `path` does.
    """
    partial = path.with_name(f".{os.getpid()}.partial.{path.name}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def link_or_copy(source: Path, target: Path) -> None:
    """Gives a file a second name, which takes no space; copies it where the file system has no second names."""
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)
