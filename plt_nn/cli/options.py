"""Options that several verbs have, and what their values mean."""

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from plt_nn.errors import ConfigError

_SPLIT: tuple[tuple[str, float, str], ...] = (
    ("val_fraction", 0.2, "share of each class, where there is no folder val/"),
    ("test_fraction", 0.0, "share of each class, where there is no folder test/"),
    ("split_seed", 0, "seed of these shares"),
)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|h)?")
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0, None: 60.0}


def add_store(parser: argparse.ArgumentParser) -> None:
    """Adds `--store`."""
    parser.add_argument("--store", type=Path, default=Path("mlruns"), help="folder of the runs (default: mlruns)")


def add_format(parser: argparse.ArgumentParser, *formats: str) -> None:
    """Adds `--format`; the first is the default."""
    parser.add_argument("--format", choices=formats, default=formats[0], help=f"of the output (default: {formats[0]})")


def add_device(parser: argparse.ArgumentParser) -> None:
    """Adds `--device`."""
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 ... (default: a GPU if there is one)")


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
    add_store(parser)


def add_reading(parser: argparse.ArgumentParser) -> None:
    """Adds `--batch-size`, `--workers` and `--device`."""
    parser.add_argument("--batch-size", type=at_least(1), default=32, help="images at once (default: 32)")
    parser.add_argument(
        "--workers", type=at_least(0), help="processes that read images (default: the cores, 8 at most)"
    )
    add_device(parser)


def add_folder(parser: argparse.ArgumentParser) -> None:
    """Adds `--data.root` and how it is split, as `plt-nn fit` calls them."""
    about = "a folder of images per class, or train/, val/ and test/ with such"
    parser.add_argument("--data.root", dest="root", type=Path, required=True, metavar="FOLDER", help=about)
    for name, default, about in _SPLIT:
        about = f"{about} (default: {default})"
        parser.add_argument(f"--data.{name}", dest=name, type=type(default), default=default, help=about)


def split_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """How the images are split, as `ImageFolderData` and `survey_class_folders` take it."""
    return {name: getattr(arguments, name) for name, _, _ in _SPLIT}


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


def at_least(least: int, unit: str = "") -> Callable[[str], int]:
    """A whole number of at least this, as the type of an argument.

    Args:
        least: The smallest number.
        unit: Of the number, for the error, such as `pixels`. Default: none.
    """

    def parsed(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(
                f"{text!r}; expected a whole number{unit and f' of {unit}'}, at least {least}"
            )
        return int(text)

    return parsed


def parse_duration(text: str) -> float:
    """The seconds in `90s`, `10min` or `1h`; a number alone is minutes, and no text is no limit.

    Raises:
        ConfigError: If it is none of these.
    """
    found = _DURATION.fullmatch(text.strip())
    if text and found is None:
        raise ConfigError(f"--budget: {text!r} is no duration; expected such as 90s, 10min or 1h.")
    return float("inf") if found is None else float(found[1]) * _SECONDS[found[2]]


def require_target(option: str, file: Path | None, endings: Sequence[str] = (), overwrite: bool = True) -> None:
    """Makes sure, before anything slow starts, that a file can be written; None needs nothing.

    Args:
        option: The option that names the file.
        file: The file.
        endings: What its name may end in. Default: anything.
        overwrite: Whether it may exist already.

    Raises:
        ConfigError: If it has another ending, is in a folder that does not exist, or exists already.
    """
    if file is None:
        return
    if endings and file.suffix.lower() not in endings:
        raise ConfigError(f"{option} {file}: expected a name that ends in {' or '.join(endings)}.")
    if not file.absolute().parent.is_dir():
        raise ConfigError(f"{option} {file}: there is no folder {file.absolute().parent}.")
    if file.exists() and not overwrite:
        raise ConfigError(f"{option} {file} exists already; --overwrite replaces it.")


@contextmanager
def progress(total: int, doing: str = "Predicting") -> Iterator[Callable[[int], None]]:
    """A bar on a terminal; gives a function to call with the number of further images that are done.

    Args:
        total: Number of images.
        doing: What is done with them, in a word.
    """
    columns = (TextColumn(doing), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("", total=total)
        yield lambda count: bar.advance(task, count)
