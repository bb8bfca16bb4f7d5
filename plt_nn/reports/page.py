"""A report as one page that needs nothing else: no network, no server, no other file."""

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from plt_nn.reports.comparison import Comparison, Row
from plt_nn.reports.curves import ArrayBlock, MetricHistories, lines, packed, phases, prices, wanted_metrics
from plt_nn.reports.tables import number, run_columns, sentences
from plt_nn.text import and_more

COLOURS = 8
_DASHES = ("solid", "dash", "dot", "dashdot")
_JPEG = re.compile(r"data:image/jpeg;base64,[A-Za-z0-9+/]+=*")
_CELLS_AS_TABLE = 20  # classes; more are a picture
_MOST_WRONG = 16


@dataclass(frozen=True)
class Report:
    """What a page shows.

    Args:
        title: Its heading.
        comparison: The runs, the best first.
        histories: The metrics of each run, in that order.
        facts: Of each run, what its best validation has shown (`figures/validation.json`); empty if that is not known.
        made: When and from what the report was made, in a sentence.
    """

    title: str
    comparison: Comparison
    histories: Sequence[MetricHistories]
    facts: Sequence[Mapping[str, Any]]
    made: str


def page(report: Report) -> str:
    """The page.

    Args:
        report: What it shows. Texts in it may come from anyone: no markup in them has an effect.
    """
    block = ArrayBlock()
    data = _data(report, block)
    return rendered(
        "plt_nn.reports",
        "report.html.jinja",
        css=template("plt_nn.reports", "report.css"),
        report=report,
        nonce=secrets.token_urlsafe(16),
        script=template("plt_nn.reports", "report.js"),
        plotly=_plotly(),
        data=data,
        arrays=block.packed(),
        **_tables(report, data),
    )


def rendered(package: str, name: str, **values: Any) -> str:
    """A page from a template in the folder `template/` of a package; texts are escaped.

    Args:
        package: The package.
        name: The template.
        values: What it shows; all that it names has to be given.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader(package, "template")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return environment.get_template(name).render(**values)


def template(package: str, name: str) -> str:
    """The text of a file in the folder `template/` of a package."""
    return (files(package) / "template" / name).read_text("utf-8")


def _data(report: Report, block: ArrayBlock) -> dict[str, Any]:
    """What the page's script draws."""
    comparison, histories = report.comparison, report.histories
    runs = [row.run for row in comparison.rows]
    names = wanted_metrics(runs, comparison.metric)
    panels = {
        section: [
            {"id": f"{section}-{at}", "name": name, "lines": drawn}
            for at, name in enumerate(names[section])
            if (drawn := lines(runs, histories, name, block))
        ]
        for section in ("curves", "machine")
    }
    rates = [{"name": name, "lines": lines(runs, histories, name, block)} for name in names["rates"]]
    return {
        "metric": comparison.metric,
        "mode": comparison.mode,
        "runs": [
            _run(row, at, own) for row, at, own in zip(comparison.rows, _colours(comparison), histories, strict=True)
        ],
        **panels,
        "rates": [rate for rate in rates if rate["lines"]],
        "prices": prices(comparison.rows, comparison.mode),
        "confusions": [
            {"run": at, "classes": facts["classes"], "cells": facts["confusion"]}
            for at, facts in enumerate(report.facts)
            if len(facts.get("classes", ())) > _CELLS_AS_TABLE
        ],
    }


def _colours(comparison: Comparison) -> list[int]:
    """The number of each run's colour: one each, or one for all runs of a group."""
    group_of = {row.run.id: at for at, group in enumerate(comparison.groups) for row in group.rows}
    return [group_of.get(row.run.id, at) for at, row in enumerate(comparison.rows)]


def _run(row: Row, at: int, own: MetricHistories) -> dict[str, Any]:
    return {
        "name": row.run.name,
        "colour": at % COLOURS,
        "dash": _DASHES[at // COLOURS % len(_DASHES)],
        "best": {"step": row.best.step, "value": row.best.value} if row.best else None,
        "phases": phases(own, row.run),
    }


def _tables(report: Report, data: Mapping[str, Any]) -> dict[str, Any]:
    """What the template shows without the script."""
    comparison = report.comparison
    columns = run_columns(comparison)
    return {
        "header": columns,
        "lines": list(zip(*(column.cells for column in columns), strict=True)),
        "sentences": sentences(comparison, every_pair=True),
        "groups": [_group_line(group) for group in comparison.groups],
        "params": sorted(comparison.rows[0].run.params.items()) if len(comparison.rows) == 1 else [],
        "described": {panel["id"]: _described(panel, data) for panel in [*data["curves"], *data["machine"]]},
        "matrices": [_matrix(at, facts) for at, facts in enumerate(report.facts) if facts.get("classes")],
        "wrong": [(at, samples) for at, facts in enumerate(report.facts) if (samples := _wrong(facts))],
        "number": number,
    }


def _group_line(group: Any) -> list[str]:
    left_out = len(group.rows) - len(group.counted)
    runs = f"{len(group.counted)}" + (f" (and {left_out} unfinished)" if left_out else "")
    values = ", ".join(number(value) for value in group.counted.values())
    return [group.name, number(group.mean), number(group.deviation), runs, values]


def _described(panel: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """A plot in words, for those who do not see it."""
    names = [data["runs"][line["run"]]["name"] for line in panel["lines"]]
    return f"{panel['name']} over the course of training, a line for each of {len(names)} runs: {and_more(names)}."


def _matrix(at: int, facts: Mapping[str, Any]) -> dict[str, Any]:
    cells = facts["confusion"]
    totals = [max(1, sum(line)) for line in cells]
    right = sum(line[place] for place, line in enumerate(cells))
    everything = max(1, sum(map(sum, cells)))
    shares = [[(cell, cell / total) for cell in line] for line, total in zip(cells, totals, strict=True)]
    return {
        "run": at,
        "classes": facts["classes"],
        "lines": shares if len(cells) <= _CELLS_AS_TABLE else None,
        "caption": f"{right:,} of {everything:,} right ({right / everything:.1%}); {facts.get('validation', '')}",
    }


def _wrong(facts: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The most wrong images; an artifact may hold anything, and only a JPEG is shown as one."""
    samples = [sample for sample in facts.get("most_wrong", ()) if _JPEG.fullmatch(str(sample.get("image", "")))]
    return samples[:_MOST_WRONG]


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
