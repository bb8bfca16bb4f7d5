"""A comparison as a table for the terminal, a page, Markdown, CSV or JSON."""

import csv
import io
import math
import time
from typing import Any, Literal, NamedTuple

from rich.console import Group as Lines
from rich.console import RenderableType
from rich.text import Text

from plt_nn.reports.comparison import Comparison, Group, Row
from plt_nn.reports.differences import MISSING, settings, value_of
from plt_nn.text import counted, duration, json_text
from plt_nn.text_table import TextTable, escaped
from plt_nn.tracking import tags
from plt_nn.tracking.read.runs import VANISHED, RunRecord

Format = Literal["text", "md", "csv", "json"]
FORMATS: tuple[Format, ...] = ("text", "md", "csv", "json")
_STATES = {"FINISHED": "finished", "RUNNING": "running", "FAILED": "failed", "KILLED": "killed", "SCHEDULED": "waiting"}


class Cell(NamedTuple):
    """What a table says of a run in a column.

    Attributes:
        text: What is shown.
        key: What it is sorted by; None comes last.
        id: Of a run's name: its uid, or MLflow's id.
    """

    text: str
    key: float | str | None
    id: str = ""


class Column(NamedTuple):
    """A column of the table of runs.

    Attributes:
        name: Its name.
        is_number: Whether it holds numbers.
        cells: A cell for each run.
    """

    name: str
    is_number: bool
    cells: list[Cell]


def as_text(comparison: Comparison) -> RenderableType:
    """The tables for the terminal, with what the data can and cannot tell below them."""
    tables = [table.as_rich() for table in _tables(comparison)]
    return Lines(*tables, *(Text(sentence) for sentence in sentences(comparison)))


def as_markdown(comparison: Comparison) -> str:
    """The same in Markdown."""
    return "\n\n".join([*(table.as_markdown() for table in _tables(comparison)), *map(escaped, sentences(comparison))])


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
    about = {"metric": comparison.metric, "mode": comparison.mode, "by": comparison.by}
    whole = about | {"runs": runs, "groups": groups, "differences": pairs, "notes": list(comparison.notes)}
    return json_text(whole)


def sentences(comparison: Comparison, every_pair: bool = False) -> list[str]:
    """What has to be known to read the table, and whether the groups differ by more than chance.

    Args:
        comparison: The comparison.
        every_pair: Whether all pairs are named, rather than those with the best group.
    """
    best = comparison.groups[0].name if comparison.groups else None
    shown = [pair.sentence() for pair in comparison.pairs if every_pair or best in (pair.first, pair.second)]
    more = len(comparison.pairs) - len(shown)
    return [*shown, *([f"{counted(more, 'more pair')}: see --format json."] if more else []), *comparison.notes]


def run_columns(comparison: Comparison) -> list[Column]:
    """The table of runs; without columns of which no run says anything."""
    rows = comparison.rows
    states, bests = [state(row.run) for row in rows], [row.best for row in rows]
    best_values = [best.value if best else None for best in bests]
    columns = [
        Column("run", False, [Cell(row.run.name, row.run.name, row.run.uid or row.run.id) for row in rows]),
        Column("state", False, [Cell(text, text) for text in states]),
        Column(f"best {comparison.metric}", True, [Cell(number(value), value) for value in best_values]),
        Column("reached at", True, [Cell(where(row), row.best.step if row.best else None) for row in rows]),
        Column("time", True, [Cell(duration(row.seconds), row.seconds) for row in rows]),
        Column("epochs", True, [Cell(number(row.epochs), row.epochs) for row in rows]),
        Column("trained", True, [Cell(short_count(row.trained), row.trained) for row in rows]),
        Column("device time", True, [Cell(device_hours(row.device_hours), row.device_hours) for row in rows]),
    ]
    if (by := comparison.by) is not None:
        columns.append(Column(by, False, [Cell(value, value) for value in (value_of(row.run, by) for row in rows)]))
    for name, shown in comparison.columns.items():
        values = [settings(row.run).get(name, MISSING) for row in rows]
        columns.append(Column(shown, False, [Cell(value, value) for value in values]))
    return [one for at, one in enumerate(columns) if at < 4 or any(cell.text != MISSING for cell in one.cells)]


def where(row: Row) -> str:
    """Where a run was best."""
    if row.best is None:
        return MISSING
    step = f"step {row.best.step:,}"
    return step if row.epoch is None else f"epoch {row.epoch:g}, {step}"


def _tables(comparison: Comparison) -> list[TextTable]:
    """The means over groups, if there are groups, and the runs."""
    columns = run_columns(comparison)
    if all(row.is_whole for row in comparison.rows):
        columns = [column for column in columns if column.name != "state"]
    lines = [[cell.text for cell in line] for line in zip(*(column.cells for column in columns), strict=True)]
    way = "lower" if comparison.mode == "min" else "higher"
    numeric = [at for at, column in enumerate(columns) if column.is_number]
    runs = TextTable([one.name for one in columns], lines, f"Runs ({way} is better)", numeric, unbroken=(1, 2))
    if not comparison.groups:
        return [runs]
    header = ["", f"mean {comparison.metric}", "±", "runs", "best", "time"]
    groups = [_group_line(group) for group in comparison.groups]
    return [TextTable(header, groups, f"Means over {comparison.by}", range(1, 6), unbroken=(1, 2)), runs]


def _group_line(group: Group) -> list[str]:
    best = group.rows[0].best
    left_out = len(group.rows) - len(group.counted)
    runs = f"{len(group.counted)}" + (f" (+{left_out})" if left_out else "")
    mean_seconds = sum(row.seconds for row in group.rows) / len(group.rows)
    numbers = [number(group.mean), number(group.deviation), runs, number(best.value if best else None)]
    return [group.name, *numbers, duration(mean_seconds)]


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


def number(value: float | None) -> str:
    """A value with five significant digits; a dash for none."""
    return "–" if value is None or math.isnan(value) else f"{value:.5g}"


def short_count(value: float | None) -> str:
    """A large number with a unit: 4.65 M."""
    if value is None or math.isnan(value):
        return "–"
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f}"


def device_hours(hours: float | None) -> str:
    """The cost of a run in hours times devices."""
    return "–" if hours is None else f"{hours:.3g} h" if hours >= 0.01 else f"{hours * 3600:.0f} s"


def ago(milliseconds: int, now: float | None = None) -> str:
    """How long ago a time was."""
    return duration(max(0.0, (time.time() if now is None else now) - milliseconds / 1000))


def state(run: RunRecord) -> str:
    """The state of a run in words, and why it ended before its time."""
    word = _STATES.get(run.status, run.status.lower())
    reason = run.tags.get(tags.FAILURE, "")
    if run.status in ("FINISHED", "RUNNING") or not reason:
        return word
    if reason == VANISHED:
        return "killed without a word"
    if reason.startswith("Interrupted"):
        return "stopped by Ctrl-C"
    if reason.startswith("Ended by SIGTERM"):
        job = run.tags.get(tags.SLURM_JOB)
        return f"ended by SIGTERM (SLURM job {job})" if job else "ended by SIGTERM"
    return f"{word}: {' '.join(reason.split())}"
