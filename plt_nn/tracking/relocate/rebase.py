"""Paths and `file:` addresses below a folder, given another folder. Pure."""

import json
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

_FILE = "file:"


def path_of(place: str) -> PurePosixPath | None:
    """The absolute path that a plain path or a `file:` address stands for; None for anything else."""
    parts = _parts(place)
    return None if parts is None else PurePosixPath("/", *(_plain(part, place) for part in parts))


def moved(place: str, old: Iterable[Path], new: Path) -> str:
    """A place with the beginning that is one of the old folders replaced by the new one.

    Only whole components count: /a/mlruns2 does not lie in /a/mlruns. What already lies in the new folder stays, unless
    an old folder is the nearer of the two (a folder that has moved up into its parent).

    Args:
        place: A path or a `file:` address; anything else comes back as it is.
        old: Absolute folders.
        new: The absolute folder in their place.
    """
    parts = _parts(place)
    if parts is None:
        return place
    plain = [_plain(part, place) for part in parts]
    fitting = [root for root in {*old, new} if plain[: len(root.parts) - 1] == list(root.parts[1:])]
    nearest = max(fitting, key=lambda root: len(root.parts), default=new)
    if nearest == new:
        return place
    begin = new.as_uri() if place.startswith(_FILE) else str(new)
    return "/".join([begin.removesuffix("/"), *parts[len(nearest.parts) - 1 :]])


def moved_inside(value: str, old: Iterable[Path], new: Path) -> str:
    """The same for a text that is a place, or JSON with places in it."""
    if value[:1] not in ("{", "["):
        return moved(value, old, new)
    try:
        loaded = json.loads(value)
    except ValueError:
        return value
    rewritten = _moved_json(loaded, tuple(old), new)
    return value if rewritten == loaded else json.dumps(rewritten)


def _moved_json(value: Any, old: tuple[Path, ...], new: Path) -> Any:
    if isinstance(value, str):
        return moved_inside(value, old, new)  # JSON within JSON happens
    if isinstance(value, list):
        return [_moved_json(inner, old, new) for inner in value]
    if isinstance(value, dict):
        return {key: _moved_json(inner, old, new) for key, inner in value.items()}
    return value


def _parts(place: str) -> list[str] | None:
    """The components after the root, as written; None if there is no root."""
    path = place
    if place.startswith(_FILE):
        path = place.removeprefix(_FILE)
        if path.startswith("//"):
            host, slash, rest = path.removeprefix("//").partition("/")
            if host not in ("", "localhost"):
                return None
            path = slash + rest
    return path[1:].split("/") if path.startswith("/") else None


def _plain(part: str, place: str) -> str:
    return unquote(part) if place.startswith(_FILE) else part
