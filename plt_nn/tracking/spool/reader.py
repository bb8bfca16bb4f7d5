"""Reads events from a spool, from any offset, while it is being written."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from plt_nn.tracking.spool.events import Event, decode, rows_in

_CHUNK = 1 << 20  # bytes read at once


class Read(NamedTuple):
    """An event and where it lies."""

    event: Event | None  # None for a line that was torn when its writer was killed or the disk was full
    end: int  # the offset of the byte after its line


def read_events(path: Path, offset: int = 0) -> Iterator[Read]:
    """The complete lines from `offset` on, the start of a line; one that is still being written is left out."""
    with path.open("rb") as file:
        file.seek(offset)
        rest = b""
        while chunk := file.read(_CHUNK):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                offset += len(line) + 1
                if line:
                    yield Read(decode(line), offset)


def read_batch(path: Path, offset: int, most_rows: int) -> list[Read]:
    """Some of the lines from `offset` on: as many as hold `most_rows` rows of metrics, but at least one."""
    batch: list[Read] = []
    rows = 0
    for read in read_events(path, offset):
        rows += rows_in(read.event)
        if batch and (rows > most_rows or len(batch) >= 10 * most_rows):  # events without rows take memory too
            break
        batch.append(read)
    return batch


def first_event(path: Path) -> Event | None:
    """The first event that is whole; None if there is none yet."""
    return next((read.event for read in read_events(path) if read.event is not None), None)
