"""What a view of training costs: `TrainingView`, Lightning's bars and none, in turn on a tiny net, on a terminal.

Run: python tests/benchmarks/view.py [--rounds 5] [--epochs 20]

Prints the median processor time of a fit, its threads' included, as a ratio to the one without any bar, in a
pseudo-terminal that is read as fast as it is written to. The fits reach the same weights.
"""

import argparse
import logging
import os
import statistics
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import ProgressBar, RichProgressBar, TQDMProgressBar
from rich.console import Console
from rich.table import Table

from plt_nn import MLP, Regressor, SyntheticRegressionData
from plt_nn.callbacks import TrainingView

STEPS_AN_EPOCH = 100
CONTENDERS: dict[str, Callable[[], ProgressBar | None]] = {
    "no bar": lambda: None,
    "TrainingView": TrainingView,
    "TrainingView(plain=True)": lambda: TrainingView(plain=True),
    "Lightning's RichProgressBar": RichProgressBar,
    "Lightning's TQDMProgressBar": TQDMProgressBar,
}


@contextmanager
def on_a_terminal() -> Iterator[None]:
    """Lets this process print to a terminal."""
    ours, theirs = os.openpty()
    threading.Thread(target=_drain, args=(ours,), daemon=True).start()
    before = sys.stdout, sys.stderr
    with os.fdopen(theirs, "w", buffering=1) as terminal:
        sys.stdout = sys.stderr = terminal
        try:
            yield
        finally:
            sys.stdout, sys.stderr = before


def _drain(descriptor: int) -> None:
    try:
        while os.read(descriptor, 65536):
            pass
    except OSError:
        os.close(descriptor)


def fit(make: Callable[[], ProgressBar | None], epochs: int) -> tuple[float, float]:
    """The seconds of processor time that a fit takes, and the sum of the weights that it reached."""
    seed_everything(0, verbose=False)
    bar = make()
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        num_sanity_val_steps=0,
        callbacks=[bar] if bar is not None else [],
        enable_progress_bar=bar is not None,
        enable_model_summary=False,
        enable_checkpointing=False,
        logger=False,
    )
    module = Regressor(MLP(2, [20, 10], 1), optimizer=lambda p: torch.optim.SGD(p, lr=1e-4))
    data = SyntheticRegressionData(batch_size=1)  # 100 samples
    began = time.process_time()
    trainer.fit(module, data)
    seconds = time.process_time() - began
    return seconds, float(sum(parameter.sum() for parameter in module.parameters()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=20)
    arguments = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    os.environ |= {"TERM": "xterm-256color", "COLUMNS": "100"}
    torch.set_num_threads(1)
    seconds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    reached = set()
    for number in range(arguments.rounds + 1):
        for name, make in CONTENDERS.items():
            with on_a_terminal():
                took, weights = fit(make, arguments.epochs if number else 2)  # the first round warms up
            if number:
                seconds[name].append(took)
                reached.add(weights)
    show(seconds, arguments.epochs)
    assert len(reached) == 1, f"the fits have reached different weights: {reached}"


def show(seconds: dict[str, list[float]], epochs: int) -> None:
    table = Table(title=f"{epochs} epochs of {STEPS_AN_EPOCH} steps, a validation each", title_justify="left")
    for column in ("", "us a step", "ratio to no bar: median (min-max)"):
        table.add_column(column)
    for name, times in seconds.items():
        ratios = [mine / bare for mine, bare in zip(times, seconds["no bar"], strict=True)]
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
        table.add_row(name, f"{statistics.median(times) / (epochs * STEPS_AN_EPOCH) * 1e6:.0f}", spread)
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
