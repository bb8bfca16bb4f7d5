"""Files that appear whole or not at all, and second names for files. Standard library only."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
