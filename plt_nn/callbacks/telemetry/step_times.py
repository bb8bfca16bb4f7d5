"""How fast training is, and where the time goes."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from plt_nn.callbacks.lightning.loops import stop_watching_fetches, watch_fetches
from plt_nn.callbacks.lightning.strategies import stop_watching_buffer_exchange, watch_buffer_exchange
from plt_nn.callbacks.telemetry.step_time_counts import (
    StepInterval,
    StepTimer,
    data_warning,
    merge,
    samples_in,
    step_metrics,
)
from plt_nn.errors import ConfigError


class StepTimes(Callback):
    """Logs how fast training is, how long it waits for data, and which process is the slowest.

    A step is one batch on each process. Each epoch, and within long epochs each `every_n_steps` steps, it logs:

    - `perf/samples_per_second`: of all processes together.
    - `perf/step_ms_mean`, `perf/step_ms_max`: the time of a step, as the mean and the maximum over the processes. It
      includes the wait for data, checkpoints and logging, but no validation.
    - `perf/data_wait_ms_mean`, `perf/data_wait_ms_max`: the part of it that waits for the loader's next batch. Starting
      the loader's workers at an epoch's beginning is neither in it nor in the step.
    - With several processes `perf/own_ms_mean`, `perf/own_ms_max` and `perf/slowest_rank`: the part of a step that a
      process spends by itself, and the process for which that is the longest. Under DDP all steps take as long as those
      of the slowest process: the others wait for its gradients in the backward pass and for its buffers before the
      forward pass. Only the time outside of these two tells who is waited for.
    - `perf/gpu_memory_mb_max` on CUDA: the most memory that tensors had in the interval, on the GPU with the most
      (`torch.cuda.max_memory_allocated`, which is reset at each interval).

    Once in a fit it warns if more than half of an epoch, and more than 5 s, was spent waiting for data.

    The clock is the host's, and on CUDA the host runs ahead of the device. So no step is timed by itself: the time of a
    whole interval is divided by its steps, and the device is waited for only where the interval ends and before a
    validation. `perf/own_ms_*` is the host's part alone: it shows a slow loader or a busy processor, not a slow GPU.
    Nor does it show who is slow in the backward pass only, or where processes wait for each other within the forward
    pass, as with FSDP, `SyncBatchNorm` or `self.log(..., sync_dist=True)`.

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
        self._timer = StepTimer()
        self._epoch: list[StepInterval] = []
        self._has_warned = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forgets an earlier fit."""
        typed_loosely: Any = trainer  # Lightning gives the trainer this number from outside the class
        self._most = self.every_n_steps or 10 * typed_loosely.log_every_n_steps or float("inf")
        self._epoch, self._has_warned = [], False  # a fit resumed within an epoch has no start of it
        self._begin(trainer.strategy.root_device)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Watches the loop that fetches the batches."""
        watch_fetches(trainer, lambda: self._timer.begin_fetch(), lambda: self._timer.end_fetch())

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begins to add up what the epoch waits for."""
        self._epoch = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Watches DDP's wrapper, which may be another one since the last batch."""
        watch_buffer_exchange(
            trainer.strategy, lambda: self._timer.exchange.start(), lambda: self._timer.exchange.stop()
        )

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Takes the time: processes wait for each other's gradients at the end of the backward pass."""
        self._timer.exchange.start()

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes the time."""
        self._timer.exchange.stop()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Counts the batch, and logs if the interval is long enough; all processes have the same number of batches."""
        self._timer.end_batch(samples_in(batch))
        if self._timer.batches >= self._most:
            self._report(trainer)
        elif trainer.is_last_batch:  # what follows it is not training
            self._pause(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stops the clock; it continues when the next batch is fetched."""
        self._pause(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs the rest of the epoch, and warns if most of it was spent waiting for data."""
        if self._timer.batches > 0:
            self._report(trainer)
        if not self._has_warned and (warning := data_warning(self._epoch)) is not None:
            self._has_warned = True
            rank_zero_warn(warning)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, *_: Any, **__: Any) -> None:
        """Leaves the loop alone; after an exception nothing is logged, because the other processes may be gone."""
        stop_watching_fetches(trainer)
        stop_watching_buffer_exchange(trainer.strategy)

    on_exception = teardown

    def _begin(self, device: torch.device) -> None:
        self._timer = StepTimer()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    def _pause(self, trainer: Trainer) -> None:
        device = trainer.strategy.root_device
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        self._timer.pause()

    def _report(self, trainer: Trainer) -> None:
        self._pause(trainer)
        device = trainer.strategy.root_device
        memory = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
        intervals = _gathered(trainer, self._timer.interval(memory))
        self._epoch = merge(self._epoch, intervals)
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
