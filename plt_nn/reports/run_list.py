"""What runs now, what has died and why, where, how far, and the best so far."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from plt_nn.errors import ConfigError
from plt_nn.reports.comparison import epoch_of
from plt_nn.reports.metric import Best, best_value, better, chosen_metric, logged_best
from plt_nn.reports.tables import state
from plt_nn.tracking import tags
from plt_nn.tracking.read.all_runs import AllRuns
from plt_nn.tracking.read.runs import RunRecord

SILENT = 300.0  # seconds without a sign after which a run on another machine may be dead


@dataclass(frozen=True)
class ListedRun:
    """A run as the list shows it.

    Args:
        run: The run.
        state: Its state in words, and why it ended before its time.
        host: The machine it runs or ran on; empty if that is not known.
        epochs: How many epochs it has begun; None if that is not known.
        most_epochs: How many it was to train; None if that is not known.
        step: The highest step of any metric that counts steps.
        metric: The metric that it monitors; None if that is not known.
        best: The best so far; None if there is none.
        best_epoch: The epoch of that, counted from 0.
        waiting: Bytes of its log that MLflow does not have yet.
    """

    run: RunRecord
    state: str
    host: str
    epochs: int | None
    most_epochs: int | None
    step: int
    metric: str | None
    best: Best | None
    best_epoch: float | None
    waiting: int


def list_runs(reader: AllRuns, runs: Sequence[RunRecord], now: float | None = None) -> list[ListedRun]:
    """The runs as a list shows them: those that run first, then the newest; `now` is in seconds since 1970."""
    found = [_listed_run(reader, run, time.time() if now is None else now) for run in runs]
    return sorted(found, key=lambda one: (one.run.status != "RUNNING", -one.run.began))


def _listed_run(reader: AllRuns, run: RunRecord, now: float) -> ListedRun:
    spool = reader.spools.get(run.uid or "")
    metric, best = _best(reader, run)
    epoch = run.last.get("epoch")
    steps = [point.step for name, point in run.last.items() if not name.startswith(tags.SYSTEM)]
    return ListedRun(
        run=run,
        state=_state(run, spool is not None and spool.is_alive, now),
        host=run.tags.get(tags.HOST, ""),
        epochs=int(epoch.value) + 1 if epoch is not None and math.isfinite(epoch.value) else None,
        most_epochs=_most_epochs(run),
        step=max(steps, default=0),
        metric=metric,
        best=best,
        best_epoch=epoch_of(best, lambda step: reader.value_at(run, "epoch", step)),
        waiting=max(0, spool.backlog.size) if spool is not None else 0,
    )


def _state(run: RunRecord, is_alive: bool, now: float) -> str:
    silence = now - run.last_sign / 1000
    if run.status != "RUNNING" or is_alive or silence < SILENT:
        return state(run)
    return "running, or dead: no sign of it"  # on another machine, whose processes cannot be seen from here


def _best(reader: AllRuns, run: RunRecord) -> tuple[str | None, Best | None]:
    try:
        metric = chosen_metric([run], None)
        logged = logged_best(run, metric)
        mode = better(metric, [run])
    except ConfigError:  # no metric of which it is known what is better
        return None, None
    if logged is not None:
        return metric, logged
    history = reader.histories([run], [metric]).get(run.id, {}).get(metric)
    return metric, best_value(history, mode) if history is not None else None


def _most_epochs(run: RunRecord) -> int | None:
    value = next((value for name, value in run.params.items() if name.endswith("max_epochs")), "")
    return int(value) if value.isdecimal() else None
