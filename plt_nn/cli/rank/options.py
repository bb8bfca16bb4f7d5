"""The arguments of `plt-nn rank`."""

import argparse
from pathlib import Path

from plt_nn.cli.options import add_device, add_folder, add_format, add_store, at_least
from plt_nn.errors import ConfigError


def parser() -> argparse.ArgumentParser:
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
    made.add_argument("--sizes", type=_numbers, help="sides in pixels; default: that of the pretraining and 0.6 of it")
    made.add_argument("--crops", type=_shares, help="shares of the middle; default: that of the pretraining")
    made.add_argument("--controls", action="store_true", help="try each net with random weights as well")
    made.add_argument("--download", action="store_true", help="fetch weights that globs match, or a short list of nets")
    made.add_argument("--budget", default="", help="such as 90s, 10min or 1h; default: none")
    made.add_argument("--samples", type=at_least(1), help="most images to use (default: 2000, and ten of a class)")
    made.add_argument(
        "--verify",
        type=at_least(1),
        nargs="?",
        const=3,
        default=0,
        metavar="N",
        help="fine-tune the best plans (3)",
    )
    made.add_argument("--write", type=Path, metavar="FILE", help="write the advice as a configuration for `plt-nn fit`")
    made.add_argument("--no-audit", action="store_true", help="do not look for faults of the files first")
    add_format(made, "text", "md", "json")
    add_device(made)
    made.add_argument("--experiment", default="rank", help="the experiment in MLflow (default: rank)")
    add_store(made)
    made.add_argument("--megabytes", type=at_least(1), default=20_000, help="limit of mlruns/features (default: 20000)")
    return made


def require_yaml(file: Path | str | None) -> None:
    """Makes sure that `--write` names a YAML file, if it names one.

    Raises:
        ConfigError: If it names another.
    """
    if file is not None and Path(file).suffix not in (".yaml", ".yml"):
        raise ConfigError(f"--write {file}: expected a name that ends in .yaml.")


def _numbers(text: str) -> list[int]:
    try:
        sizes = [int(part) for part in text.split(",")]
    except ValueError:
        sizes = [0]
    if min(sizes) < 16:
        raise argparse.ArgumentTypeError(f"{text!r}; expected sides in pixels of at least 16, such as 96,128,224")
    return sizes


def _shares(text: str) -> list[float]:
    try:
        crops = [float(part) for part in text.split(",")]
    except ValueError:
        crops = [0.0]
    if not all(0 < crop <= 1 for crop in crops):
        raise argparse.ArgumentTypeError(f"{text!r}; expected shares above 0 and at most 1, such as 0.7,0.875,1")
    return crops
