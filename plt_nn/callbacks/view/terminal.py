"""The view in a terminal: a table that grows with each epoch, and below it what runs now."""

import math
import os
import sys
import time
from contextlib import suppress
from typing import NamedTuple, TextIO

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from plt_nn.callbacks.view.snapshot import BestSoFar, Snapshot, metric_text
from plt_nn.text import duration

_MOST_OFTEN, _LEAST_OFTEN = 0.1, 1.0  # seconds between two drawings
_SHARE = 0.02  # of the time may be spent on drawing
_WITH_BARS, _WITH_NOTES = 40, 72  # columns that a terminal must have for them


class Terminal:
    """Draws at the foot of the terminal, and above it writes what is to stay.

    No thread draws: a loader that forks its workers meanwhile could copy a lock that is held, for ever. So during a
    long step the drawing stands still.
    """

    def __init__(self) -> None:
        self.next_at = 0.0  # when the next drawing is due
        sys.stdout.flush()
        file = open(sys.stdout.fileno(), "w", encoding=sys.stdout.encoding, closefd=False)  # noqa: SIM115
        self._console, self._table = Console(file=file), EpochTable()
        self._live = Live(
            console=self._console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
        )
        self._live.start()
        streams = dict.fromkeys([sys.stdout, sys.stderr])
        self._above = [PrintedAbove(self._console, stream) for stream in streams if can_be_taken(stream)]

    def show(self, snapshot: Snapshot) -> None:
        """Draws the present moment; the slower that is, the longer until the next one."""
        began = time.monotonic()
        self._live.update(drawing(snapshot, self._console.width, self._console.options.ascii_only), refresh=True)
        now = time.monotonic()
        self.next_at = now + min(_LEAST_OFTEN, max(_MOST_OFTEN, (now - began) / _SHARE))

    def show_epoch(self, epoch: Snapshot) -> None:
        """Writes the row of an epoch that has ended."""
        for line in self._table.lines(epoch, self._console.width, self._console.options.ascii_only):
            self._console.print(line, no_wrap=True, overflow="ellipsis", crop=True)

    def close(self) -> None:
        """Removes the drawing, and gives the streams back."""
        while self._above:
            self._above.pop().close()
        self._live.update("")
        self._live.stop()


def can_draw() -> bool:
    """Whether the output is a terminal that something can be drawn in, and nobody has asked for plain text."""
    console = Console()
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    return is_terminal and console.is_interactive and not console.no_color and not console.is_jupyter


def drawing(snapshot: Snapshot, width: int, ascii_only: bool = False) -> RenderableType:
    """The foot of the terminal.

    Args:
        snapshot: What is shown.
        width: Columns of the terminal.
        ascii_only: Whether the terminal can show only ASCII.
    """
    words, has_bars, has_notes = snapshot.words(), width >= _WITH_BARS, width >= _WITH_NOTES
    rows = [(snapshot.title, _bar(snapshot.done, snapshot.total), words["count"], words.get("speed", ""))]
    if snapshot.share is not None:
        note = ", ".join(words[name] for name in ("time", "left") if name in words)
        rows.append(("Fit", _bar(snapshot.share, 1.0), f"{100 * snapshot.share:.0f} %", note))
    grid = Table.grid(padding=(0, 1))
    grid.add_column(style="bold", no_wrap=True)
    for title, bar, count, note in rows:
        grid.add_row(title, *([bar] if has_bars else []), count, *([note] if has_notes else []))
    fields = [_field(words[name]) for name in ("metrics", "best") if name in words]
    if snapshot.best is not None and snapshot.best.remaining is not None:
        fields.append(_patience(snapshot.best, ascii_only))
    fields += [_field(note) for *_, note in rows if note and not has_notes]
    phase = [_field(words["phase"])] if "phase" in words else []
    return Group(*([""] if has_bars else []), grid, *phase, Columns(fields, padding=(0, 3)))


def _bar(done: float, total: float) -> RenderableType:
    if not math.isfinite(total):
        return ""
    return ProgressBar(max(total, 1e-9), done, width=44, complete_style="cyan", finished_style="cyan")


def _field(words: str) -> Text:
    text = Text(words, no_wrap=True, overflow="ellipsis")
    text.highlight_regex(r"^(?P<dim>phase|loss|best \S+)")
    text.highlight_regex(r"^best \S+ (?P<green>\S+)(?P<dim>.*)")
    return text


def _patience(best: BestSoFar, ascii_only: bool) -> Text:
    left, patience = best.remaining or 0, best.patience
    style = "red" if left <= 1 < patience else "yellow" if left <= patience / 2 else "green"
    full, empty = "#." if ascii_only else "●○"
    dots = full * left + empty * (patience - left) + " " if patience <= 12 else ""
    words = f"{left} of {patience} {best.unit} left"
    return Text.assemble(("patience ", "dim"), (dots, style), words, no_wrap=True, overflow="ellipsis")


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


_PHASE_WIDTH = 18  # leaves room in 80 columns for two losses and an accuracy
_GAP = 2


class _Cell(NamedTuple):
    heading: str
    width: int
    need: int  # where not all columns have room, those with the lowest are shown
    text: str
    style: str = ""


class EpochTable:
    """Remembers its columns, and repeats the headings when they change."""

    def __init__(self) -> None:
        self._metrics: dict[str, None] = {}  # in the order in which they came
        self._headings: list[str] = []

    def lines(self, epoch: Snapshot, width: int, ascii_only: bool = False) -> list[Text]:
        """An epoch's line, after the headings if they are due.

        Args:
            epoch: The epoch that has ended.
            width: Columns of the terminal.
            ascii_only: Whether the terminal can show only ASCII.
        """
        self._metrics |= dict.fromkeys(epoch.metrics)
        cells = _fitting(self._cells(epoch, "*" if ascii_only else "★"), width)
        before, self._headings = self._headings, [cell.heading for cell in cells]
        headings = _line([cell._replace(text=cell.heading, style="dim") for cell in cells])
        return [*([headings] if self._headings != before else []), _line(cells)]

    def _cells(self, epoch: Snapshot, mark: str) -> list[_Cell]:
        label = epoch.title.rpartition(" ")[2]
        cells = [_Cell("epoch", max(5, len(label)), 0, label)]
        if epoch.phase is not None:
            cells.append(_Cell("phase", _PHASE_WIDTH, 4, epoch.phase))
        for place, name in enumerate(self._metrics):
            is_best, is_known = epoch.is_best_of(name), name in epoch.metrics
            need = 1 if epoch.best is not None and epoch.best.monitor == name else 3 + place
            text = f"{metric_text(epoch.metrics[name]) if is_known else '-'} {mark if is_best else ' '}"
            style = "bold green" if is_best else "" if is_known else "dim"
            cells.append(_Cell(f"{name}  ", max(len(name), 9) + 2, need, text, style))  # above the number, not the mark
        if epoch.speed is not None:
            cells.append(_Cell("samples/s", 9, 100, f"{epoch.speed:,.0f}"))
        return [*cells, _Cell("time", 11, 2, duration(epoch.seconds))]


def _fitting(cells: list[_Cell], width: int) -> list[_Cell]:
    shown: list[_Cell] = []
    for cell in sorted(cells, key=lambda cell: cell.need):
        if not shown or sum(one.width + _GAP for one in [*shown, cell]) <= width:
            shown.append(cell)
    return [cell for cell in cells if cell in shown]


def _line(cells: list[_Cell]) -> Text:
    line = Text()
    for cell in cells:
        text = Text(cell.text, cell.style)
        text.truncate(cell.width, overflow="ellipsis")
        text.align("left" if cell.heading == "phase" else "right", cell.width)
        line.append(" " * _GAP).append_text(text)
    line.rstrip()
    return line
