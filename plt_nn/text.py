"""Small pieces of text: lists that are cut short, counted nouns, durations, sizes, errors in one line, JSON. Pure."""

import json
import math
from collections.abc import Iterable
from typing import Any


def and_more(names: Iterable[object], most: int = 5) -> str:
    """`a, b, c and 4 more`: the first `most` names, and how many others there are."""
    listed = [str(name) for name in names]
    shown = ", ".join(listed[:most])
    return shown if len(listed) <= most else f"{shown} and {len(listed) - most:,} more"


def quoted(names: Iterable[object], most: int = 5) -> str:
    """The same with each name in quotes: `'a', 'b' and 3 more`."""
    return and_more(map(repr, names), most)


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """`1 image`, `2 images`, `1,024 images`; `plural` is for nouns that take more than an s."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def first_line(error: BaseException) -> str:
    """The first line of an error's text, at most 300 characters, or the name of its class if it has none."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return line if len(line) <= 300 else f"{line[:299]}…"


def one_line(error: BaseException, most: int = 300) -> str:
    """The text of an error in one line of at most `most` characters, or the name of its class if it has none."""
    return " ".join(str(error).split())[:most] or type(error).__name__


def duration(seconds: float) -> str:
    """A time as people write it: `4.2 s`, `48 s`, `12 min 5 s`, `3 h 20 min`, `2 d 4 h`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def byte_size(count: float) -> str:
    """A number of bytes: `812 B`, `4.1 KB`, `12 MB`, `3.0 GB`."""
    for unit in ("B", "KB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if count >= 10 or unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def json_text(value: Any, indent: int | None = 2) -> str:
    """Plain values as JSON, which has no number that is not finite: `null` in its place."""
    return json.dumps(_finite(value), indent=indent)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
