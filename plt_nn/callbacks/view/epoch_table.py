"""The table of a fit's epochs, written line by line as they end. Pure."""

from dataclasses import dataclass

from rich.text import Text

from plt_nn.callbacks.view.snapshot import EpochRow, duration, number

_PHASE_WIDTH = 18  # so that in 80 columns there is room for two losses and an accuracy
_GAP = 2


@dataclass(frozen=True)
class Column:
    """A column.

    Args:
        name: Its heading.
        width: In characters.
        need: The order in which columns are kept where not all have room; the lowest first.
        is_left: Whether it is aligned to the left.
    """

    name: str
    width: int
    need: int
    is_left: bool = False


class EpochTable:
    """Remembers which columns it has, and repeats the headings when they change or the terminal does."""

    def __init__(self) -> None:
        self._columns: list[Column] = []
        self._metrics: list[str] = []
        self._width = 0

    def lines(self, row: EpochRow, width: int, ascii_only: bool = False) -> list[Text]:
        """An epoch's line, after the headings if they are due.

        Args:
            row: The epoch.
            width: Columns of the terminal.
            ascii_only: Whether it knows no other characters.
        """
        new = [name for name in row.metrics if name not in self._metrics]
        headings = []
        if new or width != self._width or not self._columns:
            self._metrics += new
            columns = _fitting(_all_columns(self._metrics, row), width)
            if columns != self._columns:
                self._columns = columns
                headings.append(_line([_heading(column, metrics=self._metrics) for column in columns], columns))
            self._width = width
        return [*headings, _line([_cell(column, row, ascii_only) for column in self._columns], self._columns)]


def _all_columns(metrics: list[str], row: EpochRow) -> list[Column]:
    monitor = row.standing.monitor if row.standing is not None else ""
    columns = [Column("epoch", max(5, len(_epoch(row))), 0)]
    if row.phase is not None:
        columns.append(Column("phase", _PHASE_WIDTH, 4, is_left=True))
    for place, name in enumerate(metrics):
        columns.append(Column(name, max(len(name), 9) + 2, 1 if name == monitor else 3 + place))
    if row.speed is not None:
        columns.append(Column("samples/s", 9, 100))
    return [*columns, Column("time", 9, 2)]


def _fitting(columns: list[Column], width: int) -> list[Column]:
    kept: list[Column] = []
    room = width
    for column in sorted(columns, key=lambda column: column.need):
        if column.width + _GAP <= room or not kept:
            room -= column.width + _GAP
            kept.append(column)
    return [column for column in columns if column in kept]


def _line(cells: list[Text], columns: list[Column]) -> Text:
    line = Text()
    for cell, column in zip(cells, columns, strict=True):
        cell.truncate(column.width, overflow="ellipsis")
        cell.align("left" if column.is_left else "right", column.width)
        line.append(" " * _GAP).append_text(cell)
    line.rstrip()
    return line


def _heading(column: Column, metrics: list[str]) -> Text:
    return Text(column.name + "  " * (column.name in metrics), "dim")  # above the numbers, not above the mark


def _epoch(row: EpochRow) -> str:
    return f"{row.epoch}" if row.last is None else f"{row.epoch}/{row.last}"


def _cell(column: Column, row: EpochRow, ascii_only: bool) -> Text:
    if column.name == "epoch":
        return Text(_epoch(row))
    if column.name == "phase":
        return Text(row.phase or "")
    if column.name == "samples/s":
        return Text(f"{row.speed:,.0f}" if row.speed is not None else "")
    if column.name == "time":
        return Text(duration(row.seconds))
    if column.name not in row.metrics:
        return Text("-  ", "dim")
    is_best = row.is_best(column.name)
    mark = (" *" if ascii_only else " ★") if is_best else "  "
    return Text(number(row.metrics[column.name]) + mark, "bold green" if is_best else "")
