"""How fast training is, and where the time goes."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from plt_nn.callbacks.lightning.loops import stop_watching_fetches, watch_fetches
from plt_nn.callbacks.telemetry.step_timer import (
    StepInterval,
    StepTimer,
    data_warning,
    samples_in,
    step_metrics,
    together,
)
from plt_nn.errors import ConfigError


class StepTimes(Callback):
    """Logs how fast training is, how long it waits for data, and which process is the slowest.

    A step is one batch on each process. Each epoch, and within long epochs each `every_n_steps` steps, it logs, from
    what each process has counted in the meantime:

    - `perf/samples_per_second`: of all processes together.
    - `perf/step_ms_mean`, `perf/step_ms_max`: the time of a step, as a mean and as a maximum over the processes of each
      one's mean. It includes the wait for data, checkpoints and logging, but no validation.
    - `perf/data_wait_ms_mean`, `perf/data_wait_ms_max`: the part of it in which the loop waits for its loader to give
      the next batch. Starting the loader's workers at an epoch's beginning is not in it, nor in the step.
    - With several processes `perf/own_ms_mean`, `perf/own_ms_max` and `perf/slowest_rank`: the part of it that a
      process spends by itself, and the process for which that is the longest. Under DDP the steps of all processes take
      as long as those of the slowest one, because the others wait for it, for its gradients in the backward pass and
      for its buffers before the forward pass. Only the time outside of these two tells who is waited for.
    - `perf/gpu_memory_mb_max` on CUDA: the most memory that tensors had in the interval, on the GPU with the most. It
      is read with `torch.cuda.max_memory_allocated`, which is reset at each interval.

    Once in a fit it warns if more than half of an epoch, and more than 5 s, went by waiting for data.

    The clock is the host's, and on CUDA the host runs ahead of the device. So no step is timed by itself: the time of a
    whole interval is divided by its steps, and the device is waited for only where the interval ends and before a
    validation. `perf/own_ms_*` is the host's part alone: it shows a slow loader or a busy processor, not a slow GPU.
    Nor does it show who is slow where processes wait for each other within the forward pass, as with FSDP,
    `SyncBatchNorm` or `self.log(..., sync_dist=True)`, or who is slow in the backward pass only.

    A step costs a few clock readings; an interval one exchange of six numbers.

    Args:
        every_n_steps: Steps in an interval, at most; an epoch's end always ends one. Default: ten times the trainer's
            `log_every_n_steps`.

    Raises:
        ConfigError: `every_n_steps` is not positive.
    """

    def __init__(self, every_n_steps: int | None = None) -> None:
        if every_n_steps is not None and every_n_steps < 1:
            raise ConfigError(f"StepTimes(every_n_steps={every_n_steps!r}): a number of steps of at least 1, or null.")
        self.every_n_steps = every_n_steps
        self._most = 0.0
        self._tally = StepTimer()
        self._epoch: list[StepInterval] = []
        self._has_warned = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forgets an earlier fit."""
        typed_loosely: Any = trainer  # Lightning gives the trainer this number from outside the class
        self._most = self.every_n_steps or 10 * typed_loosely.log_every_n_steps or float("inf")
        self._epoch, self._has_warned = [], False  # a fit resumed within an epoch has no start of it
        self._begin(trainer.strategy.root_device)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listens to the loop that fetches the batches."""
        watch_fetches(trainer, self.fetch_begins, self.fetch_ends)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begins to add up what the epoch waits for."""
        self._epoch = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Listens to DDP's wrapper, which may be another one since the last batch."""
        _listen_to_ddp(trainer.strategy.model, self)

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Takes the time: processes wait for each other's gradients at the end of the backward pass."""
        self.exchange_begins()

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes the time."""
        self.exchange_ends()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Counts the batch, and logs if the interval is long enough; all processes have the same number of batches."""
        self._tally.batch_ends(samples_in(batch))
        if self._tally.batches >= self._most:
            self._report(trainer)
        elif trainer.is_last_batch:  # what follows it is not training
            self._pause(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stops the clock; it goes on when the next batch is fetched."""
        self._pause(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs what is left of the epoch, and warns if most of it was spent waiting for data."""
        if self._tally.batches > 0:
            self._report(trainer)
        if not self._has_warned and (warning := data_warning(self._epoch)) is not None:
            self._has_warned = True
            rank_zero_warn(warning)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leaves the loop alone; what was counted is not logged, for the other processes may be gone."""
        stop_watching_fetches(trainer)
        _stop_listening_to_ddp(trainer.strategy.model)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leaves the loop alone."""
        stop_watching_fetches(trainer)
        _stop_listening_to_ddp(trainer.strategy.model)

    def fetch_begins(self) -> None:
        """The loop asks the loader for a batch."""
        self._tally.fetch_begins()

    def fetch_ends(self) -> None:
        """The loader has given one."""
        self._tally.fetch_ends()

    def exchange_begins(self) -> None:
        """Something begins in which processes wait for each other."""
        self._tally.exchange_begins()

    def exchange_ends(self) -> None:
        """It has ended."""
        self._tally.exchange_ends()

    def _begin(self, device: torch.device) -> None:
        self._tally = StepTimer()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    def _pause(self, trainer: Trainer) -> None:
        device = trainer.strategy.root_device
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        self._tally.pause()

    def _report(self, trainer: Trainer) -> None:
        self._pause(trainer)
        device = trainer.strategy.root_device
        memory = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
        intervals = _gathered(trainer, self._tally.interval(memory))
        self._epoch = together(self._epoch, intervals)
        self._begin(device)
        if trainer.is_global_zero:
            for logger in trainer.loggers:
                logger.log_metrics(step_metrics(intervals), step=trainer.global_step)


def _gathered(trainer: Trainer, mine: StepInterval) -> list[StepInterval]:
    """What all processes did, in the order of their ranks."""
    if trainer.world_size == 1:
        return [mine]
    numbers = torch.tensor(mine, dtype=torch.float64, device=trainer.strategy.root_device)
    return [StepInterval(*row) for row in trainer.strategy.all_gather(numbers).tolist()]


def _listen_to_ddp(model: nn.Module | None, callback: StepTimes) -> None:
    """Has DDP's wrapper tell a callback when it exchanges buffers, which it does before it runs what it wraps."""
    if not isinstance(model, DistributedDataParallel) or "_pre_forward" in model.__dict__:
        return
    wrapper: Any = model
    pre_forward = wrapper._pre_forward

    def timed(*inputs: Any, **named: Any) -> Any:
        callback.exchange_begins()
        inputs_to_pass_on = pre_forward(*inputs, **named)
        callback.exchange_ends()
        return inputs_to_pass_on

    wrapper._pre_forward = timed


def _stop_listening_to_ddp(model: nn.Module | None) -> None:
    getattr(model, "__dict__", {}).pop("_pre_forward", None)
