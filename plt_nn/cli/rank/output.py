"""What both kinds of `plt-nn rank` print, write and log at their end."""

import sys
from argparse import Namespace

from rich.console import Console

from plt_nn.advice.report import Report
from plt_nn.tracking.store import Store

_WIDTH = 132  # characters of a line where there is no terminal


def finish(report: Report, arguments: Namespace, store: Store) -> None:
    """Prints a report, writes its configuration if `--write` names a file, and logs it (`add_outputs`)."""
    if arguments.format == "text":
        Console(width=None if sys.stdout.isatty() else _WIDTH).print(report.as_text(), highlight=False)
    else:
        print(report.as_json() if arguments.format == "json" else report.as_markdown())
    if arguments.write is not None and report.configuration is not None:
        arguments.write.parent.mkdir(parents=True, exist_ok=True)
        arguments.write.write_text(report.configuration, "utf-8")
        say(f"Run it with: plt-nn fit --config {arguments.write}")
    uid, is_delivered = report.record(store, arguments.experiment)
    say(f"Open it with: plt-nn ui --run {uid}" if is_delivered else "Not in MLflow yet: `plt-nn sync` delivers it.")


def say(text: str) -> None:
    """Prints a sentence beside the results, to stderr."""
    Console(stderr=True, soft_wrap=True).print(text, markup=False, highlight=False)
