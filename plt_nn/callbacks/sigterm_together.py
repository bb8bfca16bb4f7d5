"""Lets all processes of a distributed run end at the same step after SIGTERM."""

import signal
import threading
from types import FrameType
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

_EVERY = 8  # batches


class SigtermTogether(Callback):
    """Ends a distributed fit at the same step on every process, whichever of them received SIGTERM.

    Lightning's own handler talks to the other processes from inside the signal handler, in the middle of whatever they
    exchange just then: the messages get mixed up, and the run hangs or crashes
    (https://github.com/Lightning-AI/pytorch-lightning/issues/20806). Here the handler takes a note, and every few steps
    the processes agree whether one of them has one; then Lightning raises its `SIGTERMException` on all of them. With
    one process Lightning's handler is left alone.
    """

    def __init__(self) -> None:
        self._noted = False

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes the place of Lightning's handler."""
        self._install(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes the place of Lightning's handler."""
        self._install(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Agrees with the other processes, now and then: reading their answer waits for the device."""
        if trainer.world_size > 1 and (batch_idx % _EVERY == 0 or trainer.is_last_batch):
            note = torch.tensor(float(self._noted), device=trainer.strategy.root_device)
            if float(trainer.strategy.reduce(note, reduce_op="sum")) > 0:
                trainer._signal_connector.received_sigterm = True

    def _install(self, trainer: Trainer) -> None:
        composed = signal.getsignal(signal.SIGTERM)
        handlers = getattr(composed, "signal_handlers", None)  # Lightning's, with those that it found
        if trainer.world_size == 1 or handlers is None or threading.current_thread() is not threading.main_thread():
            return
        self._noted = False
        lightnings = trainer._signal_connector._sigterm_notifier_fn
        handlers[:] = [self._note if handler == lightnings else handler for handler in handlers]

    def _note(self, signum: int, frame: FrameType | None) -> None:
        self._noted = True
