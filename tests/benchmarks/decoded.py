"""Decoding images once: a loader's epochs with decoded images kept in memory, in files, and not at all, in turn.

Run: python tests/benchmarks/decoded.py [--photos FOLDER] [--epochs 5] [--workers 2]

Photographs (ants and bees), augmented as `plt-nn fit` does by default (a random crop of 35 to 100 %, a flip) to 224
px; once as they are, once with `resize_first: 256`. The first epoch decodes in any case; the others are timed. That all
give the same pixels is checked.
"""

import argparse
import contextlib
import logging
import statistics
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

from plt_nn import ImageFolderData

if TYPE_CHECKING:
    from tests.benchmarks.freezing import PHOTOS
else:  # a script finds its neighbours by their bare names
    from freezing import PHOTOS

PLACES: tuple[Any, ...] = (None, "memory", "files")


def epochs(data: ImageFolderData, count: int) -> tuple[list[float], float]:
    """The seconds of each epoch but the first, and a sum over the pixels of the last."""
    loader, seconds, total = data.train_dataloader(), [], 0.0
    for epoch in range(count + 1):
        loader.epoch_batches.set_epoch(epoch)
        began, total = time.perf_counter(), 0.0
        for batch in loader:
            assert isinstance(batch.x, torch.Tensor)
            total += float(batch.x.double().sum())
        seconds.append(time.perf_counter() - began)
    return seconds[1:], total


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, default=PHOTOS)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    photos = arguments.photos.absolute()
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    table = Table("resize_first", "keep_decoded", "images a second", "ratio to none", box=MARKDOWN)
    for side in (None, 256):
        rates, totals = {}, set()
        for place in PLACES:
            data = ImageFolderData(
                photos, image_size=224, num_workers=arguments.workers, keep_decoded=place, resize_first=side
            )
            data.setup("fit")
            with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):  # where mlruns/features is made
                seconds, total = epochs(data, arguments.epochs)
            totals.add(total)
            rates[place] = len(data.paths["train"]) / statistics.median(seconds)
            ratio = f"{rates[place] / rates[None]:.2f}"
            table.add_row(str(side or ""), str(place or "none"), f"{rates[place]:.0f}", ratio)
        assert len(totals) == 1, f"the pixels differ: {totals}"
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
