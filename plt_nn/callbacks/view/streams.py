"""Lets what anybody prints while something is drawn at the foot of a terminal go above it."""

import contextlib
import os
import sys
from collections.abc import Callable
from typing import Any, TextIO

from rich.console import Console
from rich.text import Text


class Direct:
    """A stream as it is, whatever becomes of its `write` later: what a drawing itself is written to.

    Args:
        stream: The stream, such as `sys.stdout`.
    """

    def __init__(self, stream: TextIO) -> None:
        self.write, self._stream = stream.write, stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class PrintedAbove:
    """Takes over `write` of the terminal's two streams, for whole lines.

    Of the streams themselves, and not by putting others into `sys`, as rich does: handlers of `logging` (Lightning's
    among them) and sinks of loguru hold the streams that they found, and would write into the drawing.

    Args:
        console: Prints above the drawing; its file must be a `Direct`.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._streams: list[tuple[TextIO, _Lines]] = []

    def start(self) -> None:
        """Takes the streams over that lead to a terminal."""
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and stream.isatty() and "write" not in getattr(stream, "__dict__", {"write": None}):
                lines = _Lines(self._console, stream.write)
                stream.write = lines.write  # type: ignore[method-assign]
                self._streams.append((stream, lines))

    def stop(self) -> None:
        """Gives them back, and writes what is not a whole line yet."""
        while self._streams:
            stream, lines = self._streams.pop()
            with contextlib.suppress(AttributeError):
                del stream.write  # the class' own comes to light
            lines.finish()


class _Lines:
    def __init__(self, console: Console, write: Callable[[str], int]) -> None:
        self._console, self._write = console, write
        self._process = os.getpid()
        self._begun = ""

    def write(self, text: str) -> int:
        if os.getpid() != self._process:  # a loader's worker: it has a copy of the drawing, which is none of its own
            return self._write(text)
        *lines, self._begun = (self._begun + text).split("\n")
        if lines:
            printed = Text("\n").join(Text.from_ansi(line.rpartition("\r")[2] or line.rstrip("\r")) for line in lines)
            self._console.print(printed, soft_wrap=True)
        return len(text)

    def finish(self) -> None:
        if self._begun:
            self._write(self._begun)
            self._begun = ""
