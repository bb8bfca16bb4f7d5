"""The arguments that name a folder of images and how it is split, as `plt-nn fit` calls them."""

import argparse
from pathlib import Path
from typing import Any

_SPLIT: tuple[tuple[str, float, str], ...] = (
    ("val_fraction", 0.2, "share of each class, where there is no folder val/"),
    ("test_fraction", 0.0, "share of each class, where there is no folder test/"),
    ("split_seed", 0, "seed of these shares"),
)


def add_folder_options(parser: argparse.ArgumentParser) -> None:
    """Adds `--data.root` and what tells how it is split."""
    parser.add_argument(
        "--data.root",
        dest="root",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="a folder of images per class, or train/, val/ and test/ with such",
    )
    for name, default, told in _SPLIT:
        told = f"{told} (default: {default})"
        parser.add_argument(f"--data.{name}", dest=name, type=type(default), default=default, help=told)


def split_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """How the images are split, as `ImageFolderData` and `survey_class_folders` take it."""
    return {name: getattr(arguments, name) for name, _, _ in _SPLIT}
