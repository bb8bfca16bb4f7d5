"""Lets what a scheduler asks for by a signal happen between two steps, and on all processes at the same one."""

import signal
import threading
from types import FrameType
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from plt_nn.callbacks.lightning.connectors import (
    end_by_sigterm,
    replace_requeue_handler,
    replace_sigterm_handler,
    requeue,
)

_AGREE_EVERY = 8  # batches


class SignalsBetweenSteps(Callback):
    """Ends a fit on SIGTERM, and checkpoints it for SLURM's requeueing, between two steps and on every process at once.

    Lightning's handlers act inside the signal handler. With several processes they communicate in the middle of another
    exchange: messages get mixed up, and the run hangs or crashes
    (https://github.com/Lightning-AI/pytorch-lightning/issues/20806). The checkpoint that Lightning makes for requeueing
    (SIGUSR1, or SLURM's `requeue_signal`) is one of a half-finished batch, from which a run does not continue as it
    would have. Here the handler only notes the signal. At the end of a batch (with several processes, of every eighth)
    the processes agree whether one of them has noted a signal, and Lightning then does what it would have done at once.
    With one process SIGTERM is left to Lightning, which waits for the end of the batch already.
    """

    def __init__(self) -> None:
        self._was_told_to_end = False
        self._requeue_signal: int | None = None

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Replaces Lightning's handlers."""
        if threading.current_thread() is not threading.main_thread():
            return
        self._was_told_to_end, self._requeue_signal = False, None
        if trainer.world_size > 1:
            replace_sigterm_handler(trainer, self._note_sigterm)
        replace_requeue_handler(trainer, self._note_requeue)

    on_train_start = on_sanity_check_start

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Acts on what was noted, once all processes know of it; reading their answer waits for the device."""
        if trainer.world_size == 1:
            is_requeued = self._requeue_signal is not None
        elif batch_idx % _AGREE_EVERY == 0 or trainer.is_last_batch:
            mine = [float(self._was_told_to_end), float(self._requeue_signal is not None)]
            notes = torch.tensor(mine, device=trainer.strategy.root_device)
            is_ended, is_requeued = (trainer.strategy.reduce(notes, reduce_op="sum") > 0).tolist()
            if is_ended:
                end_by_sigterm(trainer)
        else:
            return
        if is_requeued:
            signum, self._requeue_signal = self._requeue_signal or signal.SIGUSR1, None
            requeue(trainer, signum)

    def _note_sigterm(self, signum: int, frame: FrameType | None) -> None:
        self._was_told_to_end = True

    def _note_requeue(self, signum: int, frame: FrameType | None) -> None:
        self._requeue_signal = signum
