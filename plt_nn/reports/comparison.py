"""Runs side by side: the best of each, what it cost, and what differed. Pure, except for what is read of the runs."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from plt_nn.reports.differences import MISSING, differing, require_known, settings, short_names, value_of
from plt_nn.reports.metric import Best, Mode, best_value, better, chosen_metric, logged_best
from plt_nn.reports.significance import Difference, differences
from plt_nn.text import counted
from plt_nn.tracking.read.all_runs import AllRuns
from plt_nn.tracking.read.runs import RunRecord

TRAINED, DEVICE_HOURS = "cost/most_trained_parameters", "cost/device_hours"


@dataclass(frozen=True)
class Row:
    """A run as the table shows it.

    Args:
        run: The run.
        best: The best that it has reached; None if it has no finite value.
        epoch: The epoch of that, counted from 0; None if it is not known.
        seconds: Duration of the run.
        epochs: How many epochs it trained; None if it is not known.
        trained: The most parameters that were trained at a time; None if it is not known.
        device_hours: Its cost in hours times devices; None if it is not known.
    """

    run: RunRecord
    best: Best | None
    epoch: float | None
    seconds: float
    epochs: float | None
    trained: float | None
    device_hours: float | None

    @property
    def is_whole(self) -> bool:
        """Whether the run came to its end."""
        return self.run.status == "FINISHED"


@dataclass(frozen=True)
class Group:
    """Runs that are equal but for what is averaged over.

    Args:
        name: What differs between it and the other groups.
        rows: Its runs, the best first.
        counted: Those of them whose best enters the mean, by seed.
        mean: Their mean; NaN if there is none.
        deviation: Their standard deviation (n - 1); NaN with fewer than two.
    """

    name: str
    rows: tuple[Row, ...]
    counted: Mapping[str, float]
    mean: float
    deviation: float


@dataclass(frozen=True)
class Comparison:
    """Runs side by side.

    Args:
        metric: What is compared.
        mode: Which way it gets better.
        rows: The runs, the best first.
        by: What is averaged over.
        groups: With `by`: the groups, the best mean first.
        pairs: With `by`: whether the groups differ by more than chance.
        columns: The parameters that differ: full name -> the name that is shown.
        notes: What has to be known to read it.
    """

    metric: str
    mode: Mode
    rows: tuple[Row, ...]
    by: str | None
    groups: tuple[Group, ...]
    pairs: tuple[Difference, ...]
    columns: Mapping[str, str]
    notes: tuple[str, ...]


def compare(
    reader: AllRuns,
    runs: Sequence[RunRecord],
    metric: str | None = None,
    mode: Mode | None = None,
    by: str | None = None,
    with_unfinished: bool = False,
) -> Comparison:
    """Compares runs.

    If a run has logged the best of this metric, that is used; else the best of its whole history.

    Args:
        reader: Where the runs were read from.
        runs: The runs.
        metric: What to compare. Default: the metric that the runs monitor, else a validation loss.
        mode: Which way it gets better. Default: as the runs say, else by its name.
        by: Average over the runs that are equal but for this parameter, such as `seed`.
        with_unfinished: Whether runs that have died or still run enter the means.

    Raises:
        ConfigError: For a metric or a parameter that no run has; for a metric that may be better lower or higher.
    """
    metric = chosen_metric(runs, metric)
    mode = better(metric, runs, mode)
    if by is not None:
        require_known(runs, by)
    bests = {run.id: logged_best(run, metric) for run in runs}
    histories = reader.histories([run for run in runs if bests[run.id] is None and metric in run.last], [metric])
    for run_id, own in histories.items():
        bests[run_id] = best_value(own[metric], mode) if metric in own else None
    rows = []
    for run in runs:
        epoch = epoch_of(bests[run.id], partial(reader.value_at, run, "epoch"))
        rows.append(row_of(run, bests[run.id], epoch))
    rows.sort(key=lambda row: _place(row.best.value if row.best else math.nan, mode))
    columns = differing(runs, by)
    names = short_names(columns)
    groups = _groups(rows, columns, names, by, mode, with_unfinished) if by is not None else []
    pairs = differences({group.name: group.counted for group in groups}, mode)
    notes = _notes(rows, groups, by, with_unfinished)
    return Comparison(metric, mode, tuple(rows), by, tuple(groups), tuple(pairs), names, tuple(notes))


def row_of(run: RunRecord, best: Best | None, epoch: float | None) -> Row:
    """A run as the table shows it, with the best that it has reached and the epoch of that."""
    last, hours, trained = (run.last.get(name) for name in ("epoch", DEVICE_HOURS, TRAINED))
    seconds = ((run.ended or run.last_sign) - run.began) / 1000
    return Row(
        *(run, best, epoch, max(0.0, seconds), last.value + 1 if last is not None else None),
        *(trained.value if trained is not None else None, hours.value if hours is not None else None),
    )


def epoch_of(best: Best | None, epoch_at: Callable[[int], float | None]) -> float | None:
    """The epoch in which a run was best, counted from 0; None if it is not known.

    Args:
        best: The best.
        epoch_at: The value of the metric `epoch` at a step.
    """
    if best is None:
        return None
    found = epoch_at(best.step)
    return found if found is not None else epoch_at(best.step - 1)  # Lightning counts its rows from 0, we count steps


def _groups(
    rows: Sequence[Row],
    columns: Sequence[str],
    names: Mapping[str, str],
    by: str,
    mode: Mode,
    with_unfinished: bool,
) -> list[Group]:
    found: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        own = settings(row.run)
        found.setdefault(tuple(own.get(column, MISSING) for column in columns), []).append(row)
    groups = []
    for key, members in found.items():
        name = ", ".join(f"{names[column]} {value}" for column, value in zip(columns, key, strict=True))
        groups.append(_group(name or "all runs", members, by, with_unfinished))
    return sorted(groups, key=lambda group: _place(group.mean, mode))


def _group(name: str, members: Sequence[Row], by: str, with_unfinished: bool) -> Group:
    counted: dict[str, float] = {}
    for row in members:
        if row.best is not None and (row.is_whole or with_unfinished):
            seed = value_of(row.run, by)
            twins = sum(known.partition(" #")[0] == seed for known in counted)
            counted[f"{seed} #{twins + 1}" if twins else seed] = row.best.value
    values = np.array(list(counted.values()))
    mean = float(values.mean()) if len(values) else math.nan
    deviation = float(values.std(ddof=1)) if len(values) > 1 else math.nan
    return Group(name, tuple(members), counted, mean, deviation)


def _notes(rows: Sequence[Row], groups: Sequence[Group], by: str | None, with_unfinished: bool) -> list[str]:
    notes: list[str] = []
    digests = {row.run.data["validation"] for row in rows if "validation" in row.run.data}
    if len(digests) > 1:
        notes.append(f"These runs were validated on {len(digests)} different data sets: their values do not compare.")
    unfinished = [row for row in rows if not row.is_whole]
    if unfinished and by is not None and not with_unfinished:
        whose = f"{counted(len(unfinished), 'run')} that died or still run"
        notes.append(f"{whose} are left out of the means; --with-unfinished counts them.")
    few = [group for group in groups if 0 < len(group.counted) < 3]
    if few and len(groups) > 1:
        notes.append("To tell a difference from chance, each side needs at least 3 runs.")
    if by is None and len(rows) > 1 and _has_repeats(rows):
        notes.append("Some of these runs differ in nothing but the seed: --by seed shows their means and deviations.")
    return notes


def _has_repeats(rows: Sequence[Row]) -> bool:
    columns = differing([row.run for row in rows], "seed")
    keys = [tuple(settings(row.run).get(column) for column in columns) for row in rows]
    return len(set(keys)) < len(keys) and len({value_of(row.run, "seed") for row in rows}) > 1


def _place(value: float, mode: Mode) -> float:
    """A key to sort by: the best first, what is not a number last."""
    return math.inf if math.isnan(value) else value if mode == "min" else -value
