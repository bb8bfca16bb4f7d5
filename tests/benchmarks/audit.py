"""What an audit of many small images costs: the seconds and the memory of each step, on images made for it.

Run: python tests/benchmarks/audit.py [--images 50000] [--classes 100]

Pictures of 32 px, half of them PNG and half JPEG; 20 files of one class are in another as well: these have to be found,
and nothing else.
"""

import argparse
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image
from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

from plt_nn.audit.duplicates import find_duplicates, near_pairs
from plt_nn.audit.scan import scan_images
from plt_nn.data.class_folders import survey_class_folders

T = TypeVar("T")
COPIED = 20


def make(root: Path, images: int, classes: int) -> None:
    """Writes pictures that are like no other, and copies of some."""
    draw = np.random.default_rng(0)
    for number in range(images):
        folder = root / f"class{number % classes:04}"
        folder.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(draw.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        ending = "jpg" if number // classes % 2 else "png"
        coarse.resize((32, 32), Image.Resampling.BICUBIC).save(folder / f"{number}.{ending}")
    for file in sorted((root / "class0000").iterdir())[:COPIED]:
        shutil.copy(file, root / "class0001" / f"copy_of_{file.name}")


def megabytes() -> float:
    """The most memory that this process has taken so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # of Linux: kilobytes


def main() -> None:
    """Measures, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--classes", type=int, default=100)
    arguments = parser.parse_args()
    table = Table("step", "seconds", "most memory, MB", box=MARKDOWN)

    def timed(step: str, compute: Callable[[], T]) -> T:
        began = time.perf_counter()
        found = compute()
        table.add_row(step, f"{time.perf_counter() - began:.1f}", f"{megabytes():,.0f}")
        return found

    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "images"
        make(root, arguments.images, arguments.classes)
        table.add_row("imports", "", f"{megabytes():,.0f}")
        folders = timed("find the files", lambda: survey_class_folders(root, 0.2, 0.0, 0))
        images = timed("read them", lambda: scan_images(folders.samples))
        found = timed("duplicates", lambda: find_duplicates(images))
        assert [len(group.rows) for group in found.groups] == [2] * COPIED, "what was copied, and nothing else"
        alike = np.repeat(images.bits[:1], len(images.bits), axis=0)
        detailed = np.ones(len(alike), dtype=np.bool_)
        timed("the same if all hashes were equal", lambda: near_pairs(alike, images.thumbnails, detailed))
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
