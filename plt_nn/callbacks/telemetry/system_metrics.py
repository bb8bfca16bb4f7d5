"""The load of each machine while a fit runs on it."""

import multiprocessing
import os
import threading
import time
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from plt_nn.callbacks.lightning.run_logger import RunLogger, node_loggers
from plt_nn.callbacks.telemetry.system_sampler import sample, system_sources
from plt_nn.errors import ConfigError

_SOON = 1.0  # seconds until the first sample, so that short runs have one
_TOO_SOON = 0.1  # seconds; over less time the load of a processor is noise
_PATIENCE = 2.0  # seconds to wait for the last sample, which takes milliseconds unless something is stuck


class SystemMetrics(Callback):
    """Logs the load of each machine while a fit runs: processors, memory, disk, network, and the GPUs in use.

    One thread on each machine samples about a second after the start, then every `interval` seconds, and once more at
    the end. The training loop does nothing for it. The metrics have the names of MLflow's own system metrics, and
    appear in the UI's tab of that name: `system/cpu_utilization_percentage`, `system/system_memory_usage_megabytes`,
    `system/disk_usage_percentage`, `system/network_receive_megabytes`, `system/gpu_0_utilization_percentage`,
    `system/gpu_0_memory_usage_megabytes`, `system/gpu_0_power_usage_watts` and their like. Of this trainer's processes
    on the machine, their loaders' workers included, it logs `system/process_cpu_percentage` (100 is one core) and
    `system/process_memory_megabytes`. With several machines the name of each has the machine's number in it.

    GPUs are numbered as PyTorch numbers them in this process, and are those of NVIDIA; only the ones that this trainer
    uses are sampled. In a container the memory is the container's, not the machine's.

    What cannot be measured is left out after one warning; without an NVIDIA driver there is no warning. Nothing is
    sampled without a logger that stores metrics of machines, such as `DurableMLFlowLogger`. Where a cluster's launcher
    starts every process by itself (SLURM's `srun`), the processes and GPUs are those of the first one on each machine.

    Args:
        interval: Seconds between samples, at least 0.1.

    Raises:
        ConfigError: The interval is too short.
    """

    def __init__(self, interval: float = 10.0) -> None:
        if not interval >= _TOO_SOON:
            raise ConfigError(f"SystemMetrics(interval={interval!r}): seconds between samples, at least {_TOO_SOON}.")
        self.interval = interval
        self._sampling: _Sampling | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begins to sample, on one process of each machine."""
        self.on_fit_end(trainer, pl_module)
        loggers = node_loggers(trainer)
        if trainer.local_rank == 0 and loggers:
            self._sampling = _Sampling(self.interval, loggers, trainer)
            self._sampling.start()

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any, **__: Any) -> None:
        """Takes the last sample, and makes sure that no thread remains."""
        sampling, self._sampling = self._sampling, None
        if sampling is not None:
            sampling.stop()

    on_exception = teardown = on_fit_end


def used_gpus(trainer: Trainer) -> dict[int, str]:
    """The CUDA devices that a trainer uses on this machine: PyTorch's number -> UUID."""
    devices = getattr(trainer.strategy, "parallel_devices", None) or [trainer.strategy.root_device]
    numbers = [device.index or 0 for device in devices if device.type == "cuda"]
    return {number: str(torch.cuda.get_device_properties(number).uuid) for number in numbers}


def root_process(processes: int) -> int:
    """The process whose descendants are all the training processes of this machine.

    Args:
        processes: How many there are. Lightning starts the others from the first one; torchrun and `ddp_spawn` start
            all of them from one that does not train.
    """
    have_a_parent = "TORCHELASTIC_RUN_ID" in os.environ or multiprocessing.parent_process() is not None
    return os.getppid() if processes > 1 and have_a_parent else os.getpid()


class _Sampling(threading.Thread):
    """Samples until it is stopped; what goes wrong here never reaches the training."""

    def __init__(self, interval: float, loggers: list[RunLogger], trainer: Trainer) -> None:
        super().__init__(name="plt_nn-system-metrics", daemon=True)
        self._interval, self._loggers = interval, loggers
        self._node, self._nodes = trainer.node_rank, trainer.num_nodes
        self._gpus, self._root = used_gpus(trainer), root_process(trainer.num_devices)
        self._has_ended = threading.Event()

    def stop(self) -> None:
        """Takes the last sample, and ends; a thread that is stuck logs no more."""
        self._has_ended.set()
        self.join(_PATIENCE)
        self._loggers = []

    def run(self) -> None:
        """Samples: soon, then every interval, then a last time."""
        self._sources = system_sources(self._gpus, self._root)  # here, for NVML may take a while to start
        self._sample()  # rates count from here
        began = last = time.monotonic()
        wait = min(_SOON, self._interval)
        while self._loggers and not self._has_ended.wait(wait):
            self._log(self._sample())
            last, wait = time.monotonic(), self._interval
        if last == began or time.monotonic() - last >= _TOO_SOON:
            self._log(self._sample())

    def _sample(self) -> dict[str, float]:
        metrics, failures = sample(self._sources)
        for name, error in failures.items():
            self._warn(f"The {name} of this machine cannot be measured, and will not be logged", error)
        return metrics

    def _log(self, metrics: Mapping[str, float]) -> None:
        for logger in list(self._loggers):
            try:
                logger.log_node_metrics(metrics, node=self._node, nodes=self._nodes)
            except Exception as error:  # noqa: BLE001 - a logger may be anyone's
                self._loggers = [other for other in self._loggers if other is not logger]
                self._warn(f"{type(logger).__name__} did not take the load of this machine, and gets no more", error)

    def _warn(self, text: str, error: Exception) -> None:
        # Not Lightning's `rank_zero_warn`: each machine speaks for itself.
        warnings.warn(f"SystemMetrics: {text}: {type(error).__name__}: {error}", stacklevel=2)
