"""Prints above the drawing what anybody prints while something is drawn at the foot of a terminal."""

import os
from contextlib import suppress
from typing import TextIO

from rich.console import Console
from rich.text import Text


class PrintedAbove:
    """Takes over the `write` of a stream that leads to the terminal, for whole lines.

    It is the stream's own method, not another stream in `sys` as with rich: handlers of `logging` (Lightning's among
    them) and sinks of loguru hold the stream that they found, and would write into the drawing.

    Args:
        console: Prints above the drawing, to a file of its own.
        stream: `sys.stdout` or `sys.stderr`.
    """

    def __init__(self, console: Console, stream: TextIO) -> None:
        self._console, self._stream, self._write = console, stream, stream.write
        self._process, self._begun = os.getpid(), ""
        stream.write = self._print  # type: ignore[method-assign]

    def close(self) -> None:
        """Gives the stream back, and writes the line that has no end yet."""
        with suppress(AttributeError):
            del self._stream.write  # which uncovers the method of the class
        if self._begun:
            self._write(self._begun)

    def _print(self, text: str) -> int:
        if os.getpid() != self._process:  # a loader's worker, which has a copy of the drawing
            return self._write(text)
        *lines, self._begun = (self._begun + text).split("\n")
        if lines:
            shown = (line.rpartition("\r")[2] or line.rstrip("\r") for line in lines)
            self._console.print(Text("\n").join(map(Text.from_ansi, shown)), soft_wrap=True)
        return len(text)


def can_be_taken(stream: TextIO | None) -> bool:
    """Whether a stream leads to a terminal, and nobody else has replaced its `write`."""
    return stream is not None and stream.isatty() and "write" not in getattr(stream, "__dict__", {"write": None})
