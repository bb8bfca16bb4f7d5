"""A report as one page that needs nothing else: no network, no server, no other file."""

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from plt_nn.reports.arrays import ArrayBlock, packed
from plt_nn.reports.comparison import Comparison, Row
from plt_nn.reports.curves import Own, lines, phases, prices, wanted_metrics
from plt_nn.reports.differences import MISSING, settings, value_of
from plt_nn.reports.tables import sentences, where
from plt_nn.reports.words import count, device_hours, duration, number, state
from plt_nn.tracking.read.runs import RunRecord

COLOURS = 8
_DASHES = ("solid", "dash", "dot", "dashdot")
_JPEG = re.compile(r"data:image/jpeg;base64,[A-Za-z0-9+/]+=*")
_CELLS_AS_TABLE = 20  # classes; more are a picture
_MOST_WRONG = 16


@dataclass(frozen=True)
class Report:
    """What a report tells.

    Args:
        title: Its heading.
        comparison: The runs, the best first.
        own: The histories of each run, in that order.
        facts: Of each run, what its best validation has shown (`figures/validation.json`); empty if that is not known.
        made: When and from what the report was made, in a sentence.
    """

    title: str
    comparison: Comparison
    own: Sequence[Own]
    facts: Sequence[Mapping[str, Any]]
    made: str


def page(report: Report) -> str:
    """The page.

    Args:
        report: What it tells. Texts in it may come from anyone: they are shown as they are.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("plt_nn.reports", "template")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    block = ArrayBlock()
    data = _data(report, block)
    return environment.get_template("report.html.jinja").render(
        report=report,
        nonce=secrets.token_urlsafe(16),
        css=_part("report.css"),
        script=_part("report.js"),
        plotly=_plotly(),
        data=data,
        arrays=block.packed(),
        **_tables(report, data),
    )


def _data(report: Report, block: ArrayBlock) -> dict[str, Any]:
    """What the page's script draws."""
    comparison, own = report.comparison, report.own
    runs = [row.run for row in comparison.rows]
    names = wanted_metrics(runs, comparison.metric)
    panels = {
        section: [
            {"id": f"{section}-{at}", "name": name, "lines": drawn}
            for at, name in enumerate(names[section])
            if (drawn := lines(runs, own, name, block))
        ]
        for section in ("curves", "machine")
    }
    rates = [{"name": name, "lines": lines(runs, own, name, block)} for name in names["rates"]]
    return {
        "metric": comparison.metric,
        "mode": comparison.mode,
        "runs": [_run(row, at, own) for row, at, own in zip(comparison.rows, _looks(comparison), own, strict=True)],
        **panels,
        "rates": [rate for rate in rates if rate["lines"]],
        "prices": prices(comparison.rows, comparison.mode),
        "confusions": [
            {"run": at, "classes": facts["classes"], "cells": facts["confusion"]}
            for at, facts in enumerate(report.facts)
            if len(facts.get("classes", ())) > _CELLS_AS_TABLE
        ],
    }


def _looks(comparison: Comparison) -> list[int]:
    """The number of each run's colour: one each, or one for all runs of a group."""
    group_of = {row.run.id: at for at, group in enumerate(comparison.groups) for row in group.rows}
    return [group_of.get(row.run.id, at) for at, row in enumerate(comparison.rows)]


def _run(row: Row, at: int, own: Own) -> dict[str, Any]:
    return {
        "name": row.run.name,
        "colour": at % COLOURS,
        "dash": _DASHES[at // COLOURS % len(_DASHES)],
        "best": {"step": row.best.step, "value": row.best.value} if row.best else None,
        "phases": phases(own, row.run),
    }


def _tables(report: Report, data: Mapping[str, Any]) -> dict[str, Any]:
    """What the template shows without the script's help."""
    comparison = report.comparison
    header, cells = _header(comparison), [_line(row, comparison) for row in comparison.rows]
    told = [at for at in range(len(header)) if at < 4 or any(line[at][0] != MISSING for line in cells)]
    return {
        "header": [header[at] for at in told],
        "lines": [[line[at] for at in told] for line in cells],
        "sentences": sentences(comparison, every_pair=True),
        "groups": [_group_line(group) for group in comparison.groups],
        "params": _params(comparison.rows[0].run) if len(comparison.rows) == 1 else [],
        "described": {panel["id"]: _described(panel, data) for panel in [*data["curves"], *data["machine"]]},
        "matrices": [_matrix(at, facts) for at, facts in enumerate(report.facts) if facts.get("classes")],
        "wrong": [(at, _wrong(facts)) for at, facts in enumerate(report.facts) if _wrong(facts)],
        "number": number,
    }


def _header(comparison: Comparison) -> list[tuple[str, bool]]:
    """The names of the columns, and whether they hold numbers."""
    by = [(comparison.by, False)] if comparison.by is not None else []
    fixed = [("run", False), ("state", False), (f"best {comparison.metric}", True), ("reached at", True)]
    costs = [("time", True), ("epochs", True), ("trained", True), ("device time", True)]
    return [*fixed, *costs, *by, *((name, False) for name in comparison.columns.values())]


def _line(row: Row, comparison: Comparison) -> list[tuple[str, Any, str]]:
    """The cells of a run: what is shown, by what it is sorted, and the full text."""
    own = settings(row.run)
    best = row.best.value if row.best else None
    params = [own.get(column, MISSING) for column in comparison.columns]
    by = [value_of(row.run, comparison.by)] if comparison.by is not None else []
    return [
        (row.run.name, row.run.name, row.run.uid or row.run.id),
        (state(row.run), state(row.run), state(row.run)),
        (number(best), best, ""),
        (where(row), row.best.step if row.best else None, ""),
        (duration(row.seconds), row.seconds, ""),
        ("–" if row.epochs is None else f"{row.epochs:g}", row.epochs, ""),
        (count(row.trained), row.trained, ""),
        (device_hours(row.device_hours), row.device_hours, ""),
        *((_cut(value), value, value) for value in [*by, *params]),
    ]


def _group_line(group: Any) -> list[str]:
    left_out = len(group.rows) - len(group.counted)
    runs = f"{len(group.counted)}" + (f" (and {left_out} unfinished)" if left_out else "")
    values = ", ".join(number(value) for value in group.counted.values())
    return [group.name, number(group.mean), number(group.deviation), runs, values]


def _params(run: RunRecord) -> list[tuple[str, str]]:
    return sorted(run.params.items())


def _described(panel: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """A plot in words, for who does not see it."""
    names = [data["runs"][line["run"]]["name"] for line in panel["lines"]]
    told = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return f"{panel['name']} over the course of training, a line for each of {len(names)} runs: {told}."


def _matrix(at: int, facts: Mapping[str, Any]) -> dict[str, Any]:
    cells = facts["confusion"]
    totals = [max(1, sum(line)) for line in cells]
    right = sum(line[place] for place, line in enumerate(cells))
    everything = sum(map(sum, cells))
    shares = [[(cell, cell / total) for cell in line] for line, total in zip(cells, totals, strict=True)]
    return {
        "run": at,
        "classes": facts["classes"],
        "lines": shares if len(cells) <= _CELLS_AS_TABLE else None,
        "told": f"{right:,} of {everything:,} right ({right / max(1, everything):.1%}); {facts.get('validation', '')}",
    }


def _wrong(facts: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The most wrong images; an artifact may hold anything, and only a JPEG is shown as one."""
    samples = [sample for sample in facts.get("most_wrong", ()) if _JPEG.fullmatch(str(sample.get("image", "")))]
    return samples[:_MOST_WRONG]


def _cut(text: str, longest: int = 48) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _part(name: str) -> str:
    return (files("plt_nn.reports") / "template" / name).read_text("utf-8")


@cache
def _plotly() -> str:
    """The plotting library, compressed to a third."""
    return packed((files("plotly") / "package_data" / "plotly.min.js").read_bytes())


def read_facts(content: bytes | None) -> dict[str, Any]:
    """What `figures/validation.json` of a run says; nothing if it is missing or damaged."""
    try:
        found = json.loads(content or b"{}")
        classes, confusion = found.get("classes", []), found.get("confusion", [])
        is_square = len(confusion) == len(classes) and all(len(line) == len(classes) for line in confusion)
        all_numbers = all(isinstance(cell, int) for line in confusion for cell in line)
    except (ValueError, TypeError, AttributeError):
        return {}
    return dict(found) if is_square and all_numbers else {}
