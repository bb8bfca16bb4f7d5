"""Trainers for trials: silent, on one device, in this process."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any

from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import Callback, Trainer


@contextmanager
def trial_trainer(device: str, epochs: int, callbacks: Sequence[Callback]) -> Iterator[Trainer]:
    """A silent trainer without a logger, in a temporary folder.

    Args:
        device: Such as `cpu`, `cuda` or `cuda:1`.
        epochs: The maximum number of epochs.
        callbacks: Its callbacks.
    """
    with quietly(), TemporaryDirectory() as folder:  # of the best weights
        yield Trainer(
            max_epochs=epochs,
            **on_one_device(device),
            callbacks=list(callbacks),
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=folder,
        )


@contextmanager
def quietly() -> Iterator[None]:
    """Silences Lightning's messages and all warnings: they appear in the real fit, not in a trial or a plan."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def on_one_device(device: str) -> dict[str, Any]:
    """Arguments of a `Trainer` that trains in this process alone, whatever other processes `torchrun` has started."""
    kind, _, number = device.partition(":")
    is_gpu = kind == "cuda"
    where = {"accelerator": "gpu" if is_gpu else kind, "devices": [int(number or 0)] if is_gpu else 1}
    return {**where, "plugins": [LightningEnvironment()]}
