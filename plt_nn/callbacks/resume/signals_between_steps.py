"""Lets what a scheduler asks for by a signal happen between two steps, and on all processes at the same one."""

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

_EVERY = 8  # batches


class SignalsBetweenSteps(Callback):
    """Ends a fit on SIGTERM, and checkpoints it for SLURM's requeueing, between two steps and on every process at once.

    Lightning's handlers act inside the signal handler. With several processes they talk to the others in the middle of
    whatever is exchanged just then: the messages get mixed up, and the run hangs or crashes
    (https://github.com/Lightning-AI/pytorch-lightning/issues/20806). And the checkpoint that it makes for requeueing
    (SIGUSR1, or SLURM's `requeue_signal`) is one of a batch that is half done, from which a run does not go on as it
    would have gone on. Here the handler takes a note; at the end of a batch, with several processes of every eighth,
    the processes agree whether one of them has one, and Lightning does then what it would have done at once. Its own
    handling of SIGTERM is left alone with one process: it waits for the batch's end already.
    """

    def __init__(self) -> None:
        self._sigterm = False
        self._requeue: int | None = None

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes the place of Lightning's handlers."""
        self._install(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes the place of Lightning's handlers."""
        self._install(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Does what was noted, once the other processes know; reading their answer waits for the device."""
        if trainer.world_size == 1:
            requeue = self._requeue is not None
        elif batch_idx % _EVERY == 0 or trainer.is_last_batch:
            mine = [float(self._sigterm), float(self._requeue is not None)]
            notes = torch.tensor(mine, device=trainer.strategy.root_device)
            sigterm, requeue = (trainer.strategy.reduce(notes, reduce_op="sum") > 0).tolist()
            if sigterm:
                trainer._signal_connector.received_sigterm = True
        else:
            return
        if requeue:
            signum, self._requeue = self._requeue or signal.SIGUSR1, None
            handler: Any = trainer._signal_connector._slurm_sigusr_handler_fn
            handler(signum, None)

    def _install(self, trainer: Trainer) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        self._sigterm, self._requeue = False, None
        lightnings = trainer._signal_connector
        if trainer.world_size > 1:
            _replace(signal.SIGTERM, lightnings._sigterm_notifier_fn, self._note_sigterm)
        for signum in signal.valid_signals() - {signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP}:
            _replace(signum, lightnings._slurm_sigusr_handler_fn, self._note_requeue)

    def _note_sigterm(self, signum: int, frame: FrameType | None) -> None:
        self._sigterm = True

    def _note_requeue(self, signum: int, frame: FrameType | None) -> None:
        self._requeue = signum


def _replace(signum: int, handler: object, by: Callable[[int, FrameType | None], None]) -> None:
    """Puts a handler in the place of one of Lightning's, beside those that it found and calls as well."""
    composed = getattr(signal.getsignal(signum), "signal_handlers", None)
    if composed is not None:
        composed[:] = [by if each == handler else each for each in composed]
