"""`plt-nn relocate`: mends the artifacts' places after the folder of the runs has been moved."""

import argparse
from pathlib import Path

from plt_nn.tracking import store_at
from plt_nn.tracking.relocate.rebase import path_of
from plt_nn.tracking.relocate.relocate import Relocated, relocate


def run(argv: list[str]) -> int:
    """Rewrites the places in the database, and says what it rewrote.

    Args:
        argv: The verb and its words.

    Raises:
        ConfigError: If there is no store.
        TrackingError: If another process has it open.
    """
    arguments = _parser().parse_args(argv[1:])
    store = store_at(arguments.store)
    _tell(relocate(store, [_folder(place) for place in arguments.old]), store.root, arguments.old)
    return 0


def _folder(place: str) -> Path:
    return Path(str(path_of(place) or Path(place).absolute()))


def _tell(done: Relocated, root: Path, named: list[str]) -> None:
    if done.backup is None:
        print(f"Nothing to do: all places that were to be found lie in {root}.")
        if named:
            print(f"No other place lies in {', '.join(named)}.")
    else:
        counts = ", ".join(f"{count} of {kind}" for kind, count in done.counts.items())
        print(f"Places rewritten to {root}: {counts}.")
        print(f"They lay in {', '.join(map(str, done.roots))}.")
        print(f"The database as it was: {done.backup}")
    for place in done.left:
        print(f"Left alone, for it is still there and not here: {place} (--from FOLDER rewrites it)")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="plt-nn relocate",
        description="Mend the artifacts' places after the folder of the runs has been moved, copied or renamed.",
    )
    parser.add_argument("--store", type=Path, default=Path("mlruns"), help="the folder where it is now")
    parser.add_argument(
        "--from",
        dest="old",
        metavar="OLD",
        action="append",
        default=[],
        help="a folder in which it lay before, if that is not found by itself; may be given several times",
    )
    return parser
