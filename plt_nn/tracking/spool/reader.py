"""Reads events from a spool, from any offset, while it is being written."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from plt_nn.tracking.spool.events import Event, decoded, rows_in

_CHUNK = 1 << 20  # bytes read at once


class Read(NamedTuple):
    """An event and where it lies.

    Attributes:
        event: The event; None for a line that was torn when its writer was killed or the disk was full.
        end: The offset of the byte after its line.
        line: The line, without its end.
    """

    event: Event | None
    end: int
    line: bytes


def read_events(path: Path, offset: int = 0) -> Iterator[Read]:
    """The complete lines from `offset` on; what a writer is in the middle of is left for the next time.

    Args:
        path: The file.
        offset: Where to begin: the start of a line.
    """
    with path.open("rb") as file:
        file.seek(offset)
        rest = b""
        while chunk := file.read(_CHUNK):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                offset += len(line) + 1
                if line:
                    yield Read(decoded(line), offset, line)


def read_batch(path: Path, offset: int, most_rows: int) -> list[Read]:
    """Some of the lines from `offset` on: as many as hold `most_rows` rows of metrics, but at least one.

    Args:
        path: The file.
        offset: The start of a line.
        most_rows: How many rows of metrics to take at most, unless a single event holds more.
    """
    batch: list[Read] = []
    rows = 0
    for read in read_events(path, offset):
        rows += rows_in(read.event) if read.event is not None else 0
        if batch and rows > most_rows:
            break
        batch.append(read)
        if len(batch) >= 10 * most_rows:  # events without rows count too, for the memory's sake
            break
    return batch
