"""A table of texts, for the terminal and in Markdown. Pure."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class TextTable:
    """A table.

    Args:
        header: The names of the columns.
        rows: The cells of each row. Names in them may be anything: no markup in them has an effect.
        title: A heading. Default: none.
        numeric: The columns of numbers, counted from 0, which are aligned at the right.
        unbroken: The columns that are never broken into lines on a terminal.
        styles: A style of rich for each row. Default: none.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    numeric: Collection[int] = ()
    unbroken: Collection[int] = ()
    styles: Sequence[str] = ()

    def as_rich(self) -> "Table":
        """The table for a terminal."""
        from rich.table import Table
        from rich.text import Text

        table = Table(title=Text(self.title) if self.title else None, title_justify="left", box=None, pad_edge=False)
        for at, name in enumerate(self.header):
            side: Literal["left", "right"] = "right" if at in self.numeric else "left"
            table.add_column(Text(name, "bold"), justify=side, overflow="fold", no_wrap=at in self.unbroken)
        for row, style in zip_longest(self.rows, self.styles, fillvalue=""):
            table.add_row(*map(Text, row), style=style)
        return table

    def as_markdown(self) -> str:
        """The table in Markdown."""
        rule = ["---:" if at in self.numeric else "---" for at in range(len(self.header))]
        cells = [[escaped(cell) for cell in row] for row in (self.header, *self.rows)]
        lines = [f"| {' | '.join(line)} |" for line in (cells[0], rule, *cells[1:])]
        return "\n".join([f"**{escaped(self.title)}**", "", *lines] if self.title else lines)


def escaped(text: str) -> str:
    """A text as a line of Markdown shows it."""
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
