"""`plt-nn features`: lists and removes the cached outputs of frozen parts of nets."""

import argparse
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from plt_nn.cli.options import add_store
from plt_nn.errors import ConfigError, did_you_mean
from plt_nn.features.feature_folder import FeatureEntry, entries, remove
from plt_nn.text import byte_size
from plt_nn.tracking import store_at


def run(argv: list[str]) -> int:
    """Lists or removes features.

    Raises:
        ConfigError: If there are no features of a name.
    """
    arguments = _parser().parse_args(argv[1:])
    root = store_at(arguments.store).features
    found = entries(root)
    if arguments.action == "ls":
        _list(found, root)
    else:
        _remove(found, arguments)
    return 0


def _list(found: list[FeatureEntry], root: Path) -> None:
    if not found:
        print(f"There are no features in {root}.")
        return
    table = Table("Key", "Size", "Samples", "Last used", "Net", "Frozen up to", box=None, pad_edge=False)
    for entry in reversed(found):
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used))
        in_use = " (in use)" if entry.is_in_use() else ""
        rows = f"{entry.rows():,} of {entry.size:,} {entry.about.get('samples', '')}"
        about = (entry.about.get("net", ""), entry.about.get("up to", ""))
        table.add_row(entry.key[:12], byte_size(entry.nbytes), rows, f"{used}{in_use}", *about)
    Console(soft_wrap=True).print(table)
    print(f"{byte_size(sum(entry.nbytes for entry in found))} in {root}")


def _remove(found: list[FeatureEntry], arguments: argparse.Namespace) -> None:
    chosen = found if arguments.all else [entry for entry in found if _is_named(entry, arguments.keys)]
    for key in arguments.keys:
        if not any(entry.key.startswith(key) for entry in found):
            hint = did_you_mean(key, [entry.key[:12] for entry in found])
            raise ConfigError(f"There are no features {key!r}.{hint} `plt-nn features ls` lists them.")
    if not arguments.all and not arguments.keys:
        raise ConfigError("Say which features to remove: their keys as `plt-nn features ls` lists them, or --all.")
    for entry in chosen:
        remove(entry)
    print(f"Removed {len(chosen)}: {byte_size(sum(entry.nbytes for entry in chosen))}.")


def _is_named(entry: FeatureEntry, keys: list[str]) -> bool:
    return any(entry.key.startswith(key) for key in keys)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="plt-nn features",
        description="List or remove the cached outputs of frozen parts of nets, which later runs use again.",
    )
    add_store(parser)
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("ls", help="list them, the last used first")
    removal = actions.add_parser("rm", help="remove some; runs that use them continue")
    removal.add_argument("keys", metavar="KEY", nargs="*", help="the beginning of a key")
    removal.add_argument("--all", action="store_true", help="remove all")
    return parser
