"""A comparison as a table for the terminal, Markdown, CSV or JSON."""

import csv
import io
import json
import math
from collections.abc import Sequence
from typing import Any, Literal

from rich.console import Group as Lines
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from plt_nn.reports.comparison import Comparison, Group, Row
from plt_nn.reports.differences import MISSING, settings, value_of
from plt_nn.reports.words import count, device_hours, duration, number, state

Format = Literal["text", "md", "csv", "json"]
FORMATS: tuple[Format, ...] = ("text", "md", "csv", "json")
_NUMERIC = ("best", "at", "mean", "±", "runs", "time", "epochs", "trained", "cost")


def as_text(comparison: Comparison) -> RenderableType:
    """The tables for the terminal, with what the data can and cannot tell below them."""
    tables = [_rich(*_group_cells(comparison))] if comparison.groups else []
    tables.append(_rich(*_run_cells(comparison)))
    return Lines(*tables, *(Text(sentence) for sentence in sentences(comparison)))


def as_markdown(comparison: Comparison) -> str:
    """The same in Markdown."""
    parts = [_markdown(*_group_cells(comparison))] if comparison.groups else []
    parts.append(_markdown(*_run_cells(comparison)))
    return "\n\n".join([*parts, *map(_escaped, sentences(comparison))])


def as_csv(comparison: Comparison) -> str:
    """A line for each run, with exact numbers and full names."""
    out = io.StringIO()
    lines = [_facts(row, comparison) for row in comparison.rows]
    writer = csv.DictWriter(out, list(dict.fromkeys(key for line in lines for key in line)), lineterminator="\n")
    writer.writeheader()
    writer.writerows([{key: _plain(value) for key, value in line.items()} for line in lines])
    return out.getvalue().rstrip("\n")


def as_json(comparison: Comparison) -> str:
    """Everything, with exact numbers; what is not a number is null."""
    groups = [
        {
            **{"name": group.name, "mean": group.mean, "deviation": group.deviation},
            **{"values": dict(group.counted), "runs": [row.run.id for row in group.rows]},
        }
        for group in comparison.groups
    ]
    pairs = [{**vars(pair), "sentence": pair.sentence()} for pair in comparison.pairs]
    runs = [_facts(row, comparison) for row in comparison.rows]
    told = {"metric": comparison.metric, "mode": comparison.mode, "by": comparison.by, "runs": runs, "groups": groups}
    return json.dumps(_finite({**told, "differences": pairs, "notes": list(comparison.notes)}), indent=2)


def sentences(comparison: Comparison, every_pair: bool = False) -> list[str]:
    """What has to be known to read the table, and what the groups' differences are worth.

    Args:
        comparison: The comparison.
        every_pair: Whether all pairs are told, rather than those with the best group.
    """
    best = comparison.groups[0].name if comparison.groups else None
    told = [pair.sentence() for pair in comparison.pairs if every_pair or best in (pair.first, pair.second)]
    more = len(comparison.pairs) - len(told)
    rest = [f"{more} more pairs are in --format json."] if more else []
    return [*told, *rest, *comparison.notes]


def run_header(comparison: Comparison) -> list[str]:
    """The names of the columns of the table of runs."""
    by = [comparison.by] if comparison.by is not None else []
    fixed = ["run", f"best {comparison.metric}", "at", "state", "time", "epochs", "trained", "cost"]
    return [*fixed, *by, *comparison.columns.values()]


def run_line(row: Row, comparison: Comparison) -> list[str]:
    """The texts of a run's cells."""
    own = settings(row.run)
    by = [value_of(row.run, comparison.by)] if comparison.by is not None else []
    return [
        *(row.run.name, number(row.best.value if row.best else None), where(row)),
        *("–" if row.is_whole else state(row.run), duration(row.seconds)),
        *("–" if row.epochs is None else f"{row.epochs:g}", count(row.trained), device_hours(row.device_hours)),
        *by,
        *(own.get(column, MISSING) for column in comparison.columns),
    ]


def where(row: Row) -> str:
    """Where a run was best."""
    if row.best is None:
        return "–"
    step = f"step {row.best.step:,}"
    return step if row.epoch is None else f"epoch {row.epoch:g}, {step}"


def _run_cells(comparison: Comparison) -> tuple[list[str], list[list[str]], str]:
    header = run_header(comparison)
    lines = [run_line(row, comparison) for row in comparison.rows]
    empty = [at for at in range(3, 8) if all(line[at] == "–" for line in lines)]  # what no run tells
    lines = [[cell for at, cell in enumerate(line) if at not in empty] for line in lines]
    way = "lower" if comparison.mode == "min" else "higher"
    return [name for at, name in enumerate(header) if at not in empty], lines, f"Runs ({way} is better)"


def _group_cells(comparison: Comparison) -> tuple[list[str], list[list[str]], str]:
    header = ["", f"mean {comparison.metric}", "±", "runs", "best", "time"]
    return header, [_group_line(group) for group in comparison.groups], f"Means over {comparison.by}"


def _group_line(group: Group) -> list[str]:
    best = group.rows[0].best
    seconds = [row.seconds for row in group.rows]
    left_out = len(group.rows) - len(group.counted)
    runs = f"{len(group.counted)}" + (f" (+{left_out})" if left_out else "")
    told = [number(group.mean), number(group.deviation), runs, number(best.value if best else None)]
    return [group.name, *told, duration(sum(seconds) / len(seconds))]


def _rich(header: Sequence[str], lines: Sequence[Sequence[str]], title: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for at, name in enumerate(header):
        is_number = name.split(" ")[0] in _NUMERIC
        table.add_column(
            Text(name), justify="right" if is_number else "left", overflow="fold", no_wrap=at < 3 and at > 0
        )
    for line in lines:
        table.add_row(*(Text(cell) for cell in line))  # a name in brackets is no markup
    return table


def _markdown(header: Sequence[str], lines: Sequence[Sequence[str]], title: str) -> str:
    rows = [f"| {' | '.join(map(_escaped, line))} |" for line in lines]
    return "\n".join(
        [f"**{_escaped(title)}**", "", f"| {' | '.join(map(_escaped, header))} |", "| --- " * len(header) + "|", *rows]
    )


def _escaped(text: str) -> str:
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def _facts(row: Row, comparison: Comparison) -> dict[str, Any]:
    own = settings(row.run)
    best = row.best
    return {
        "run": row.run.name,
        "id": row.run.id,
        "uid": row.run.uid,
        "state": state(row.run),
        "metric": comparison.metric,
        "best": best.value if best else None,
        "step": best.step if best else None,
        "epoch": row.epoch,
        "seconds": row.seconds,
        "epochs": row.epochs,
        "trained_parameters": row.trained,
        "device_hours": row.device_hours,
        **{f"param.{column}": own.get(column) for column in comparison.columns},
    }


def _plain(value: Any) -> Any:
    """A value for a spreadsheet, in which a text is no formula."""
    is_formula = isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r")
    return f"'{value}" if is_formula and not _is_number(value) else value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
