"""A table for the terminal and in Markdown: names in it are shown as they are, and columns stay columns."""

import io

from rich.console import Console

from plt_nn.text_table import TextTable

TABLE = TextTable(["net", "loss"], [["a|b <i>", "0.5"], ["[red]c", "10"]], "Runs [x]", numeric=[1], styles=["bold"])


def test_in_a_terminal_a_name_in_brackets_is_no_markup() -> None:
    console = Console(file=io.StringIO(), width=60)
    console.print(TABLE.as_rich())
    assert isinstance(console.file, io.StringIO)
    title, header, first, second = (line.rstrip() for line in console.file.getvalue().splitlines())
    assert title == "Runs [x]"
    assert header.split() == ["net", "loss"]
    assert first.startswith("a|b <i>")
    assert second.startswith("[red]c")
    assert len(header) == len(first) == len(second), "numbers are aligned at the right"


def test_in_markdown_a_name_cannot_add_a_column_or_a_tag() -> None:
    assert TABLE.as_markdown().splitlines() == [
        "**Runs [x]**",
        "",
        "| net | loss |",
        "| --- | ---: |",
        r"| a\|b &lt;i> | 0.5 |",
        "| [red]c | 10 |",
    ]
