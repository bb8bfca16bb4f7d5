"""A fit drawn in a terminal: a table that grows with each epoch, and below it what goes on now."""

import math
import sys
import time

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from plt_nn.callbacks.view.epoch_table import EpochTable
from plt_nn.callbacks.view.snapshot import BestSoFar, EpochRow, Snapshot, about, duration, number, speed
from plt_nn.callbacks.view.streams import Direct, PrintedAbove

_MOST_OFTEN, _LEAST_OFTEN = 0.1, 1.0  # seconds between two drawings
_SHARE = 0.02  # of the time may go into drawing
_WITH_BARS, _WITH_NOTES, _WIDE = 40, 72, 110  # columns that a terminal must have for them
_GAP = "   "


class Terminal:
    """Draws at the foot of the terminal, and leaves what is to stay above.

    No thread draws: a loader that forks its workers while one does could find a lock held for ever. So a step that
    takes long is seen to stand still.
    """

    def __init__(self) -> None:
        self.refreshes_after = _MOST_OFTEN
        self._console = Console(file=Direct(sys.stdout))  # type: ignore[arg-type]  # it has all that is used of a file
        self._live = Live(
            console=self._console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
        )
        self._above = PrintedAbove(self._console)
        self._table = EpochTable()
        self._live.start()
        self._above.start()

    def show(self, snapshot: Snapshot) -> None:
        """Draws a moment; the dearer that is, the longer until the next one."""
        began = time.monotonic()
        self._live.update(drawing(snapshot, self._console.width, self._console.options.ascii_only), refresh=True)
        self.refreshes_after = min(_LEAST_OFTEN, max(_MOST_OFTEN, (time.monotonic() - began) / _SHARE))

    def epoch(self, row: EpochRow) -> None:
        """Writes an epoch's row."""
        for line in self._table.lines(row, self._console.width, self._console.options.ascii_only):
            self._console.print(line, no_wrap=True, overflow="ellipsis", crop=True)

    def close(self) -> None:
        """Takes the drawing away, and gives the terminal back."""
        self._above.stop()
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
        snapshot: What is to be seen.
        width: Columns of the terminal.
        ascii_only: Whether it knows no other characters.
    """
    times = [duration(snapshot.elapsed)]
    times += [f"{about(snapshot.left)} left"] if snapshot.left is not None else []
    pace = speed(snapshot.speed) if snapshot.speed is not None else ""
    rows = [(snapshot.doing, _bar(snapshot.done, snapshot.total), _count(snapshot), pace)]
    if snapshot.share is not None:
        rows.append(("Fit", _bar(snapshot.share, 1.0), f"{100 * snapshot.share:.0f} %", ", ".join(times)))
    shown: list[list[Text]] = [[Text.assemble(("phase ", "dim"), snapshot.phase)] if snapshot.phase else []]
    shown.append(_figures(snapshot, ascii_only))
    if width < _WITH_NOTES:
        shown.append([Text(note, "dim") for *_, note in rows if note])
    if width < _WITH_BARS:
        shown.insert(0, [Text.assemble((name, "bold"), " ", count) for name, _, count, _ in rows])
    fields = [line for fields in shown for line in flow(fields, width)]
    return Group(*fields) if width < _WITH_BARS else Group("", _grid(rows, width), *fields)


def _grid(rows: list[tuple[str, RenderableType, str, str]], width: int) -> Table:
    """Names, bars, counts and, where there is room, notes."""
    is_wide = width >= _WIDE
    grid = Table.grid(padding=(0, 1), expand=not is_wide)
    grid.add_column(no_wrap=True, style="bold")
    grid.add_column(ratio=1, no_wrap=True, width=44 if is_wide else None)
    grid.add_column(justify="right", no_wrap=True, min_width=9 if width >= _WITH_NOTES else None)
    if width >= _WITH_NOTES:
        grid.add_column(no_wrap=True, style="dim", min_width=24)
    for row in rows:
        grid.add_row(*(row if width >= _WITH_NOTES else row[:3]))
    return grid


def flow(fields: list[Text], width: int) -> list[Text]:
    """Fields side by side, in as many lines as they need; what is wider than a line is cut."""
    lines: list[Text] = []
    for one in fields:
        if lines and lines[-1].cell_len + len(_GAP) + one.cell_len <= width:
            lines[-1] = Text.assemble(lines[-1], _GAP, one)
        else:
            lines.append(one.copy())
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines


def _bar(done: float, total: float) -> RenderableType:
    if not math.isfinite(total):
        return Text("")
    return ProgressBar(total=max(total, 1e-9), completed=done, complete_style="cyan", finished_style="cyan")


def _count(snapshot: Snapshot) -> str:
    return f"{snapshot.done:,}/{snapshot.total:,.0f}" if math.isfinite(snapshot.total) else f"{snapshot.done:,}"


def _figures(snapshot: Snapshot, ascii_only: bool) -> list[Text]:
    fields = [Text.assemble(("loss ", "dim"), number(snapshot.loss))] if snapshot.loss is not None else []
    best = snapshot.standing
    if best is not None and best.best is not None:
        where = f" at epoch {best.epoch}" if best.epoch is not None else ""
        fields.append(Text.assemble((f"best {best.monitor} ", "dim"), (number(best.best), "green"), (where, "dim")))
    if best is not None and best.left is not None:
        fields.append(_patience(best, ascii_only))
    return fields


def _patience(standing: BestSoFar, ascii_only: bool) -> Text:
    left, patience = standing.left or 0, standing.patience
    style = "red" if left <= 1 < patience else "yellow" if left <= patience / 2 else "green"
    full, empty = "#." if ascii_only else "●○"
    dots = full * left + empty * (patience - left) + " " if patience <= 12 else ""
    return Text.assemble(("patience ", "dim"), (dots, style), f"{left} of {patience} {standing.unit} left")
