"""Reads what a report shows, and writes it."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from plt_nn.errors import TrackingError
from plt_nn.files import atomic_write
from plt_nn.reports.comparison import Comparison, epoch_of, row_of
from plt_nn.reports.curves import wanted_metrics
from plt_nn.reports.metric import best_value, better, chosen_metric, logged_best
from plt_nn.reports.page import Report, page, read_facts
from plt_nn.text import byte_size, counted
from plt_nn.tracking import tags
from plt_nn.tracking.read.all_runs import AllRuns
from plt_nn.tracking.read.runs import RunRecord
from plt_nn.tracking.read.spool_runs import spool_run
from plt_nn.tracking.spool.folder import SpoolFolder

MOST_RUNS = 60  # one line each; more could not be distinguished


def write_report(file: Path, reader: AllRuns, comparison: Comparison, title: str) -> str:
    """Writes a comparison as a page.

    Args:
        file: Where to; written whole or not at all.
        reader: Where the runs were read from.
        comparison: The comparison; of more than 60 runs the best are shown.
        title: The heading.

    Returns:
        What was written, in a sentence.
    """
    rows = comparison.rows[:MOST_RUNS]
    runs = [row.run for row in rows]
    names = wanted_metrics(runs, comparison.metric)
    wanted = list(dict.fromkeys([*names["curves"], *names["rates"], *names["machine"], "epoch", "phase"]))
    histories = reader.histories(runs, wanted)
    facts, unread = _facts(reader, runs)
    made = f"Made by plt-nn compare on {time.strftime('%Y-%m-%d at %H:%M')}."
    shown = replace(comparison, rows=rows)
    text = page(Report(title, shown, [histories.get(run.id, {}) for run in runs], facts, made))
    with atomic_write(file) as partial:
        partial.write_text(text, "utf-8")
    left_out = len(comparison.rows) - len(rows)
    more = f" The best {MOST_RUNS} are shown; {left_out} are left out." if left_out else ""
    return f"{file}: {counted(len(rows), 'run')}, {byte_size(len(text.encode()))}.{more}{unread}"


def _facts(reader: AllRuns, runs: Sequence[RunRecord]) -> tuple[list[dict[str, Any]], str]:
    """What the best validation of each run has shown, and a sentence about what could not be read."""
    facts: list[dict[str, Any]] = []
    reason: TrackingError | None = None
    for run in runs:
        try:
            facts.append(read_facts(reader.artifact(run, tags.FIGURES_FACTS)))
        except (TrackingError, OSError) as error:  # the curves alone are worth a page
            facts.append({})
            reason = error if isinstance(error, TrackingError) else TrackingError(str(error))
    return facts, f" Confusion matrices and images could not be read: {reason}" if reason is not None else ""


def report_of_spool(folder: SpoolFolder, status: str, facts: dict[str, Any]) -> str | None:
    """The page of one run, which ends with `status`, from its spool on disk and the facts of its best validation.

    Returns:
        The page; None if the run has logged no metric.

    Raises:
        ConfigError: If there is no metric of which it is known what is better.
    """
    spool = spool_run(folder)
    if spool is None or not spool.record.last:
        return None
    run = replace(spool.record, status=status, ended=spool.record.last_sign)
    own = spool.histories()[run.id]
    metric = chosen_metric([run], None)
    mode = better(metric, [run])
    best = logged_best(run, metric) or best_value(own[metric], mode)
    row = row_of(run, best, epoch_of(best, own["epoch"].at) if "epoch" in own else None)
    made = f"Made at the run's end on {time.strftime('%Y-%m-%d at %H:%M')}."
    shown = Comparison(metric, mode, (row,), None, (), (), {}, ())
    return page(Report(f"{run.experiment}: {run.name}", shown, [own], [facts], made))
