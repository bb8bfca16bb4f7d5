"""Trainers of trials: they say nothing, and train in this process."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lightning.fabric.plugins.environments.lightning import LightningEnvironment


@contextmanager
def quietly() -> Iterator[None]:
    """What Lightning has to say of a fit is said when it is run for good, not in a trial or a plan."""
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
    """Arguments of a `Trainer` that trains in this process alone, whoever else `torchrun` has started.

    Args:
        device: Such as `cpu`, `cuda` or `cuda:1`.
    """
    kind, _, number = device.partition(":")
    accelerator = {"cuda": "gpu"}.get(kind, kind)
    return {
        "accelerator": accelerator,
        "devices": [int(number or 0)] if accelerator == "gpu" else 1,
        "plugins": [LightningEnvironment()],
    }
