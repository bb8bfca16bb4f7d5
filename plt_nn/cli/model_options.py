"""What the verbs that use a model have in common: which one, how images are read, and where it runs."""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from plt_nn.errors import ConfigError


def add_model(parser: argparse.ArgumentParser) -> None:
    """Adds `--model`, `--trust` and `--store`."""
    parser.add_argument(
        "--model",
        required=True,
        help="a run (uid, MLflow's id, `last`), models:/NAME@ALIAS, models:/ID, best-of:EXPERIMENT, or a folder",
    )
    parser.add_argument(
        "--trust", action="append", default=[], metavar="MODULE", help="run this module's code: that of a net's class"
    )
    parser.add_argument("--store", type=Path, default=Path("mlruns"), help="folder of the runs (default: mlruns)")


def add_reading(parser: argparse.ArgumentParser) -> None:
    """Adds `--batch-size`, `--workers` and `--device`."""
    parser.add_argument("--batch-size", type=_positive, default=32, help="images at once (default: 32)")
    parser.add_argument("--workers", type=_workers, help="processes that read images (default: the cores, 8 at most)")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 ... (default: a GPU if there is one)")


def device_named(name: str) -> str:
    """A device by the name that `--device` gives it; `auto` is a GPU if there is one.

    Raises:
        ConfigError: If there is no such device.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError("--device cuda: there is no GPU that torch can use here.")
    return name


def workers_of(arguments: argparse.Namespace) -> int:
    """How many processes read images."""
    from plt_nn.data.image_check import usable_cores

    given: int | None = arguments.workers
    return min(usable_cores(), 8) if given is None else given


def require_out(out: Path, endings: tuple[str, ...], overwrite: bool) -> None:
    """Makes sure that a file can be written under a name.

    Raises:
        ConfigError: If it has another ending, there is no such folder, or it is there and not to be replaced.
    """
    if out.suffix.lower() not in endings:
        raise ConfigError(f"--out {out}: expected a name that ends in {' or '.join(endings)}.")
    if not out.absolute().parent.is_dir():
        raise ConfigError(f"--out {out}: there is no folder {out.absolute().parent}.")
    if out.exists() and not overwrite:
        raise ConfigError(f"--out {out} is there already; --overwrite replaces it.")


@contextmanager
def progress(total: int, doing: str = "Predicting") -> Iterator[Callable[[int], None]]:
    """A bar on a terminal; gives a function that is told how many more images are done.

    Args:
        total: Number of images.
        doing: What is done with them, in a word.
    """
    columns = (TextColumn(doing), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("", total=total)
        yield lambda count: bar.advance(task, count)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}; expected at least 1")
    return int(text)


def _workers(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r}; expected a number of processes, or 0 for none")
    return int(text)
