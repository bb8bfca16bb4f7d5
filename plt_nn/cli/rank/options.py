"""The arguments of `plt-nn rank`."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from plt_nn.cli.options import add_device, add_folder, add_format, add_store, at_least

Number = TypeVar("Number", int, float)


def image_parser() -> argparse.ArgumentParser:
    """The parser of the command line for images."""
    made = argparse.ArgumentParser(
        prog="plt-nn rank",
        description="Measure on your own images which pretrained net suits them, at which image size, and how many of "
        "its layers to train, at the price of one forward pass a candidate. Only training images are looked at.",
        epilog="For tables, sequences and small images: `plt-nn rank --data.path TABLE --data.target COLUMN` or "
        "`plt-nn rank --data CLASS ...` tries architectures in short runs; `plt-nn rank --data CLASS --help`.",
    )
    add_folder(made)
    made.add_argument(
        "--backbones",
        action="append",
        metavar="NETS",
        help="names, globs, NAME=WEIGHTS, or @FILE with one a line, separated by commas; default: all nets whose "
        "weights are at hand",
    )
    sides = _listed(int, lambda side: side >= 16, "sides in pixels of at least 16, such as 96,128,224")
    shares = _listed(float, lambda share: 0 < share <= 1, "shares above 0 and at most 1, such as 0.7,0.875,1")
    made.add_argument("--sizes", type=sides, help="sides in pixels; default: that of the pretraining and 0.6 of it")
    made.add_argument("--crops", type=shares, help="shares of the middle; default: that of the pretraining")
    made.add_argument("--controls", action="store_true", help="try each net with random weights as well")
    made.add_argument("--download", action="store_true", help="fetch weights that globs match, or a short list of nets")
    made.add_argument("--samples", type=at_least(1), help="most images to use (default: 2000, and ten of a class)")
    best = "fine-tune the best plans (3)"
    made.add_argument("--verify", type=at_least(1), nargs="?", const=3, default=0, metavar="N", help=best)
    made.add_argument("--no-audit", action="store_true", help="do not look for faults of the files first")
    add_device(made)
    made.add_argument("--megabytes", type=at_least(1), default=20_000, help="limit of mlruns/features (default: 20000)")
    add_outputs(made)
    return made


def add_outputs(parser: argparse.ArgumentParser) -> None:
    """Adds what both kinds of `plt-nn rank` have: the time, and where the results go."""
    parser.add_argument("--budget", type=str, default="", help="such as 90s, 10min or 1h; default: none")
    about = "write the advice as a configuration for `plt-nn fit`"
    parser.add_argument("--write", type=_yaml_file, metavar="FILE", help=about)
    add_format(parser, "text", "md", "json")
    parser.add_argument("--experiment", type=str, default="rank", help="the experiment in MLflow (default: rank)")
    add_store(parser)


def _yaml_file(text: str) -> Path:
    if Path(text).suffix not in (".yaml", ".yml"):
        raise argparse.ArgumentTypeError(f"{text}: expected a name that ends in .yaml")
    return Path(text)


def _listed(
    kind: Callable[[str], Number], is_valid: Callable[[Number], bool], expected: str
) -> Callable[[str], list[Number]]:
    """Numbers between commas, as the type of an argument."""

    def parsed(text: str) -> list[Number]:
        try:
            numbers = [kind(part) for part in text.split(",")]
        except ValueError:
            numbers = []
        if not numbers or not all(map(is_valid, numbers)):
            raise argparse.ArgumentTypeError(f"{text!r}; expected {expected}")
        return numbers

    return parsed
