"""Finds classes of the user's own."""

import sys
from pathlib import Path


def find_classes_here() -> None:
    """Lets a configuration name classes in files of the working directory, after all that is installed.

    `python -m plt_nn` looks there by itself, the program `plt-nn` in the folder that it lies in.
    """
    here = str(Path.cwd())
    if not {"", here} & set(sys.path):
        sys.path.append(here)
