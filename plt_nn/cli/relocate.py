"""`plt-nn relocate`: corrects the places of artifacts after the folder of the runs was moved."""

import argparse
from pathlib import Path

from plt_nn.cli.options import add_store
from plt_nn.text import and_more
from plt_nn.tracking import store_at
from plt_nn.tracking.relocate import Relocated, path_of, relocate


def run(argv: list[str]) -> int:
    """Rewrites the places in the database, and prints what it rewrote.

    Raises:
        ConfigError: If there is no store.
        TrackingError: If another process has it open.
    """
    arguments = _parser().parse_args(argv[1:])
    store = store_at(arguments.store)
    _print(relocate(store, [_folder(place) for place in arguments.old]), store.root, arguments.old)
    return 0


def _folder(place: str) -> Path:
    return Path(str(path_of(place) or Path(place).absolute()))


def _print(done: Relocated, root: Path, named: list[str]) -> None:
    if done.backup is None:
        print(f"Nothing to do: all places are in {root}.")
        if named:
            print(f"No place is in {and_more(named)}.")
    else:
        counts = ", ".join(f"{count} of {kind}" for kind, count in done.counts.items())
        print(f"Places rewritten to {root}: {counts}.")
        print(f"They were in {and_more(done.roots)}.")
        print(f"The database before the change: {done.backup}")
    for place in done.unchanged:
        print(f"Left unchanged, for it is still there and not here: {place} (--from FOLDER rewrites it)")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="plt-nn relocate",
        description="Correct the places of artifacts after the folder of the runs was moved, copied or renamed.",
    )
    add_store(parser)
    parser.add_argument(
        "--from",
        dest="old",
        metavar="OLD",
        action="append",
        default=[],
        help="a folder in which it was before, if that is not found automatically; may be given several times",
    )
    return parser
