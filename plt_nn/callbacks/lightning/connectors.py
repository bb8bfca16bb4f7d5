"""What a trainer's connectors know: its data, the checkpoint of a requeued job, and the handlers of signals."""

import signal
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from lightning.pytorch import LightningDataModule, LightningModule, Trainer


def attach_data(trainer: Trainer, module: LightningModule, datamodule: LightningDataModule | None) -> None:
    """Lets a trainer that will not train know its data, so that the module's `configure_optimizers` may ask for it."""
    trainer._data_connector.attach_data(module, datamodule=datamodule)


def requeued_checkpoint(trainer: Trainer) -> Path | None:
    """The checkpoint that Lightning made when a scheduler ended the job, and from which it would resume by itself."""
    path = trainer._checkpoint_connector._hpc_resume_path
    return None if path is None else Path(path)


Handler = Callable[[int, FrameType | None], None]


def replace_sigterm_handler(trainer: Trainer, handler: Handler) -> None:
    """Puts a handler in the place of the one with which Lightning ends a fit on SIGTERM."""
    _replace(signal.SIGTERM, trainer._signal_connector._sigterm_notifier_fn, handler)


def replace_requeue_handler(trainer: Trainer, handler: Handler) -> None:
    """Puts a handler in the place of the one with which Lightning makes a checkpoint and requeues a SLURM job."""
    for signum in signal.valid_signals() - {signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP}:
        _replace(signum, trainer._signal_connector._slurm_sigusr_handler_fn, handler)


def end_by_sigterm(trainer: Trainer) -> None:
    """Has Lightning end the fit as after a SIGTERM, when the batch has ended."""
    trainer._signal_connector.received_sigterm = True


def requeue(trainer: Trainer, signum: int) -> None:
    """Has Lightning make its checkpoint and requeue the SLURM job now, as if the signal had just come."""
    handler: Any = trainer._signal_connector._slurm_sigusr_handler_fn
    handler(signum, None)


def _replace(signum: int, handler: object, by: Handler) -> None:
    """Replaces one of Lightning's handlers, and leaves those that Lightning found and calls as well."""
    composed = getattr(signal.getsignal(signum), "signal_handlers", None)
    if composed is not None:
        composed[:] = [by if each == handler else each for each in composed]
