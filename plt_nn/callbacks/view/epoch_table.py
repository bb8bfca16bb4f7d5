"""The table of epochs, one line at a time as they end. Pure."""

from typing import NamedTuple

from rich.text import Text

from plt_nn.callbacks.view.snapshot import Snapshot, metric_text
from plt_nn.text import duration

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
