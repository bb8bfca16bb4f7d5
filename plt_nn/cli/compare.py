"""`plt-nn compare`: the runs of an experiment side by side."""

import argparse
import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from rich.console import Console

from plt_nn.cli.options import add_format, add_store, require_target
from plt_nn.errors import ConfigError, did_you_mean
from plt_nn.reports.comparison import Comparison, compare
from plt_nn.reports.tables import FORMATS, as_csv, as_json, as_markdown, as_text
from plt_nn.tracking import store_at
from plt_nn.tracking.read.all_runs import AllRuns
from plt_nn.tracking.read.runs import RunRecord


def run(argv: list[str]) -> int:
    """Prints a comparison, and writes it as a page.

    Raises:
        ConfigError: For an experiment, a run, a metric or a parameter that does not exist.
        TrackingError: If MLflow cannot be read.
    """
    arguments = _parser().parse_args(argv[1:])
    require_target("--html", arguments.html)
    reader = AllRuns(store_at(arguments.store), arguments.tracking_uri)
    runs = _chosen(reader, arguments.experiment, arguments.runs)
    mode, metric, by = arguments.mode, arguments.metric, arguments.by
    comparison = compare(reader, runs, metric, mode, by, with_unfinished=arguments.with_unfinished)
    _print(comparison, arguments.format)
    if arguments.html is not None:
        from plt_nn.reports.write import write_report

        written = write_report(arguments.html, reader, comparison, ", ".join(arguments.experiment))
        print(written, file=sys.stderr)
    return 0


def _chosen(reader: AllRuns, experiments: Sequence[str], words: Sequence[str] | None) -> list[RunRecord]:
    runs = reader.runs(experiments)
    if not runs:
        raise ConfigError(f"there are no runs in {', '.join(experiments)} yet.")
    if words is None:
        return runs
    chosen: dict[str, RunRecord] = {}
    for word in words:
        found = {run.id: run for run in runs if _is_meant(run, word)}
        if not found:
            names = [name for run in runs for name in (run.name, run.uid or run.id)]
            raise ConfigError(
                f"--runs {word}: there is no such run in {', '.join(experiments)}.{did_you_mean(word, names)}"
            )
        chosen |= found
    return list(chosen.values())


def _is_meant(run: RunRecord, word: str) -> bool:
    return word in (run.id, run.uid) or fnmatchcase(run.name, word)


def _print(comparison: Comparison, form: str) -> None:
    if form == "text":
        Console().print(as_text(comparison))
    else:
        print({"md": as_markdown, "csv": as_csv, "json": as_json}[form](comparison))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="plt-nn compare",
        description="Show the runs of an experiment side by side: the best of each and where it was, what it cost, the "
        "parameters that differ, means and deviations over seeds, and whether a difference is more than chance.",
    )
    parser.add_argument("experiment", metavar="EXPERIMENT", nargs="+", help="one or several experiments")
    parser.add_argument("--runs", nargs="+", metavar="RUN", help="names (also globs), uids or MLflow's ids")
    parser.add_argument("--by", metavar="PARAMETER", help="average over runs that differ in this alone, such as `seed`")
    parser.add_argument("--metric", help="what to compare; default: the one that the runs monitor")
    parser.add_argument("--mode", choices=("min", "max"), help="which way it is better; default: as the runs say")
    parser.add_argument("--with-unfinished", action="store_true", help="count runs that died or still run in means")
    add_format(parser, *FORMATS)
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with plots as well")
    add_store(parser)
    parser.add_argument("--tracking-uri", metavar="URI", help="an MLflow server; default: $MLFLOW_TRACKING_URI")
    return parser
