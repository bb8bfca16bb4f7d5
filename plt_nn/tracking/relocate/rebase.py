"""Paths and `file:` addresses below a folder, moved to another folder. Pure."""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

_FILE = "file:"


def path_of(place: str) -> PurePosixPath | None:
    """The absolute path that a plain path or a `file:` address stands for; None for anything else."""
    path = unquote(place.removeprefix(_FILE)) if place.startswith(_FILE) else place
    if place.startswith(_FILE) and path.startswith("//"):
        host, slash, rest = path.removeprefix("//").partition("/")
        path = slash + rest if host in ("", "localhost") else ""
    return PurePosixPath(path) if path.startswith("/") else None


def moved(place: str, old: Iterable[Path], new: Path) -> str:
    """A place with the old folder at its beginning replaced by the new one.

    Only whole components count: /a/mlruns2 is not inside /a/mlruns. What is already inside the new folder stays, unless
    an old folder is the nearer of the two (a folder that has moved up into its parent).

    Args:
        place: A path or a `file:` address; anything else is returned unchanged.
        old: Absolute folders.
        new: The absolute folder in their place.
    """
    path = path_of(place)
    if path is None:
        return place
    around = [root for root in {*old, new} if path.is_relative_to(root)]
    nearest = max(around, key=lambda root: len(root.parts), default=new)
    if nearest == new:
        return place
    target = new / path.relative_to(nearest)
    return target.as_uri() if place.startswith(_FILE) else str(target)
