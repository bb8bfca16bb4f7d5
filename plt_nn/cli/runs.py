"""`plt-nn runs`: what is running, what has ended and how, where, how far, and the best so far."""

import argparse
import json
import math
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from plt_nn.cli.options import add_format, add_store
from plt_nn.reports.run_list import ListedRun, list_runs
from plt_nn.reports.tables import ago, number
from plt_nn.text import byte_size
from plt_nn.tracking import store_at
from plt_nn.tracking.read.all_runs import AllRuns

_SHOWN = 20
_STYLES = {"RUNNING": "green", "FAILED": "red", "KILLED": "yellow"}


def run(argv: list[str]) -> int:
    """Lists runs: those that are running, then the newest.

    Raises:
        ConfigError: For an experiment that does not exist.
        TrackingError: If MLflow cannot be read.
    """
    arguments = _parser().parse_args(argv[1:])
    reader = AllRuns(store_at(arguments.store), arguments.tracking_uri)
    found = reader.runs(arguments.experiment or reader.experiments())
    found.sort(key=lambda run: (run.status != "RUNNING", -run.began))
    running = sum(run.status == "RUNNING" for run in found)
    shown = list_runs(reader, found if arguments.all else found[: max(running, _SHOWN)])
    if arguments.format == "json":
        print(json.dumps([_facts(one) for one in shown], indent=2))
    elif not found:
        print(f"There are no runs in {reader.place} yet.")
    else:
        Console().print(_table(shown))
        if len(shown) < len(found):
            print(f"{len(found) - len(shown)} older runs are not shown; --all shows them.")
    return 0


def _table(shown: list[ListedRun]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    has_waiting = any(one.waiting for one in shown)
    for column in ("run", "experiment", "state", "host", "how far", "best so far", "last sign"):
        table.add_column(column, overflow="fold", no_wrap=column in ("last sign",))
    if has_waiting:
        table.add_column("not in MLflow", justify="right")
    for one in shown:
        cells = [Text(one.run.name), Text(one.run.experiment), Text(one.state, _STYLES.get(one.run.status, ""))]
        cells += [Text(one.host), Text(_how_far(one)), Text(_best(one)), Text(f"{ago(one.run.last_sign)} ago")]
        table.add_row(*cells, *([Text(byte_size(one.waiting) if one.waiting else "")] if has_waiting else []))
    return table


def _how_far(one: ListedRun) -> str:
    if one.epochs is None:
        return f"step {one.step:,}"
    of = f" of {one.most_epochs}" if one.most_epochs is not None else ""
    return f"{one.epochs}{of} epochs, step {one.step:,}"


def _best(one: ListedRun) -> str:
    if one.best is None:
        return "–"
    where = f" at epoch {one.best_epoch:g}" if one.best_epoch is not None else f" at step {one.best.step:,}"
    return f"{one.metric} {number(one.best.value)}{where}"


def _facts(one: ListedRun) -> dict[str, Any]:
    best = one.best
    return {
        **{"name": one.run.name, "id": one.run.id, "uid": one.run.uid, "experiment": one.run.experiment},
        **{"status": one.run.status, "state": one.state, "host": one.host or None},
        **{"began": one.run.began, "ended": one.run.ended, "last_sign": one.run.last_sign},
        **{"epochs": one.epochs, "most_epochs": one.most_epochs, "step": one.step, "metric": one.metric},
        **{"best": best.value if best is not None and math.isfinite(best.value) else None},
        **{"best_step": best.step if best is not None else None, "best_epoch": one.best_epoch},
        "undelivered_bytes": one.waiting,
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="plt-nn runs",
        description="List what is running, what has ended and how, on which machine, how far it came, and the best so "
        "far. For this store's runs it includes what is not in MLflow yet.",
    )
    parser.add_argument("experiment", metavar="EXPERIMENT", nargs="*", help="default: all experiments")
    parser.add_argument("--all", action="store_true", help=f"more than the running ones and the {_SHOWN} newest")
    add_format(parser, "text", "json")
    add_store(parser)
    parser.add_argument("--tracking-uri", metavar="URI", help="an MLflow server; default: $MLFLOW_TRACKING_URI")
    return parser
