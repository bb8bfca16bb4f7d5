"""The load of a machine as flat metrics: psutil for the machine and its processes, NVML for its GPUs.

The names are those of MLflow's own system metrics, without their `system/`, so that its UI shows them in their place.
Its monitors are not used: to import them is to import MLflow (2.5 s), they number the GPUs of the whole machine, and
they know neither containers nor processes.
"""

import contextlib
import importlib
import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import psutil

Source = Callable[[], dict[str, float]]
_CGROUP = Path("/sys/fs/cgroup")
_MEGABYTE = 1e6


def system_sources(gpus: Mapping[int, str], root: int) -> dict[str, Source]:
    """The functions to call for one sample, by the name of what they measure.

    A source that gives rates counts from the call before; the first one gives none, or a zero.

    Args:
        gpus: The number that a GPU has in the metrics -> its UUID, without `GPU-`.
        root: The process that is measured together with its descendants.
    """
    return {
        "cpu": cpu_metrics,
        "memory": memory_metrics,
        "disk": disk_metrics,
        "network": NetworkTraffic(),
        "processes": ProcessTree(root),
        **gpu_sources(gpus),
    }


def sample(sources: dict[str, Source]) -> tuple[dict[str, float], dict[str, Exception]]:
    """Asks every source once, and takes out of `sources` those that fail.

    Returns:
        The metrics, and what was wrong with the sources that were taken out.
    """
    metrics: dict[str, float] = {}
    failures: dict[str, Exception] = {}
    for name, source in list(sources.items()):
        try:
            metrics |= source()
        except Exception as error:  # noqa: BLE001 - drivers and container runtimes fail in ways of their own
            failures[name] = error
            del sources[name]
    return metrics, failures


def cpu_metrics() -> dict[str, float]:
    """How busy the machine's cores are, since this thread's last call."""
    return {"cpu_utilization_percentage": psutil.cpu_percent()}


def memory_metrics(cgroup: Path = _CGROUP) -> dict[str, float]:
    """The memory in use: the machine's, or the container's if it has less."""
    memory = psutil.virtual_memory()
    try:
        limit, current, stat = ((cgroup / f"memory.{name}").read_text() for name in ("max", "current", "stat"))
    except OSError:  # no container, or one of cgroup version 1
        limit = current = stat = ""
    used, total = limited_memory(memory.used, memory.total, limit, current, stat)
    return {"system_memory_usage_megabytes": used / _MEGABYTE, "system_memory_usage_percentage": 100 * used / total}


def limited_memory(used: int, total: int, limit: str, current: str, stat: str) -> tuple[int, int]:
    """The memory in use and the memory there is, in bytes, under the limit of a cgroup (version 2).

    Pages of files that have not been read for a while count as free, as in Kubernetes: the kernel takes them back
    before it lets a process starve. Otherwise reading a data set once would look like a full memory.

    Args:
        used: What the whole machine has in use.
        total: What the whole machine has.
        limit: The content of `memory.max`; empty where there is none.
        current: The content of `memory.current`.
        stat: The content of `memory.stat`.
    """
    if not limit.strip().isdigit() or not 0 < int(limit) < total:  # without a limit it reads `max`
        return used, total
    counts = dict(line.split() for line in stat.splitlines())
    return max(int(current) - int(counts.get("inactive_file", 0)), 0), int(limit)


def disk_metrics() -> dict[str, float]:
    """How full the disk of the root folder is, which is the one that MLflow measures."""
    disk = psutil.disk_usage(os.sep)
    megabytes = {"usage": disk.used / _MEGABYTE, "available": disk.free / _MEGABYTE}
    return {"disk_usage_percentage": disk.percent} | {
        f"disk_{name}_megabytes": size for name, size in megabytes.items()
    }


class NetworkTraffic:
    """The traffic over the machine's network since the first call; nothing on a machine without a network."""

    def __init__(self) -> None:
        self._before: tuple[int, int] | None = None

    def __call__(self) -> dict[str, float]:
        """The traffic so far."""
        counts = psutil.net_io_counters()
        if counts is None:
            return {}
        received, sent = self._before = self._before or (counts.bytes_recv, counts.bytes_sent)
        megabytes = (counts.bytes_recv - received) / _MEGABYTE, (counts.bytes_sent - sent) / _MEGABYTE
        return {"network_receive_megabytes": megabytes[0], "network_transmit_megabytes": megabytes[1]}


class ProcessTree:
    """The memory of a process and its descendants together, and their processor time per time since the last call.

    The percentage is that of one core, so four busy processes make 400. Memory that processes share, such as what a
    loader's workers have from the process that started them, counts once for each: to tell it apart would stop the
    processes while it is counted.

    Args:
        root: The number of the process.
    """

    def __init__(self, root: int) -> None:
        self._root = root
        self._seconds: dict[psutil.Process, float] = {}
        self._at: float | None = None

    def __call__(self) -> dict[str, float]:
        """Their memory, and the percentage from the second call on."""
        now, memory = time.monotonic(), 0
        seconds: dict[psutil.Process, float] = {}
        root = psutil.Process(self._root)
        for process in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.Error), process.oneshot():  # it may have ended by now
                memory += process.memory_info().rss
                times = process.cpu_times()
                seconds[process] = times.user + times.system
        metrics = {"process_memory_megabytes": memory / _MEGABYTE}
        if self._at is not None and now > self._at:
            spent = sum(count - self._seconds.get(process, 0.0) for process, count in seconds.items())
            metrics["process_cpu_percentage"] = 100 * spent / (now - self._at)
        self._seconds, self._at = seconds, now
        return metrics


def gpu_sources(gpus: Mapping[int, str]) -> dict[str, Source]:
    """A source for each NVIDIA GPU, as of `system_sources`; none where NVML is not installed, or finds no driver."""
    if not gpus:
        return {}
    try:
        nvml = importlib.import_module("pynvml")
        nvml.nvmlInit()  # it counts how often, and is never shut down: others in this process may use it
    except Exception:  # noqa: BLE001 - not installed, no driver, or not NVIDIA's package of that name
        return {}
    return {f"GPU {number}": partial(gpu_metrics, nvml, number, uuid) for number, uuid in gpus.items()}


def gpu_metrics(nvml: Any, number: int, uuid: str) -> dict[str, float]:
    """The load, memory and power of one GPU, as far as it can tell them.

    It is found by its UUID: NVML counts all the GPUs of a machine, PyTorch those that CUDA_VISIBLE_DEVICES names.
    """
    handle = nvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
    memory, power = nvml.nvmlDeviceGetMemoryInfo, nvml.nvmlDeviceGetPowerUsage
    readings: dict[str, Callable[[], float]] = {
        "utilization_percentage": lambda: float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu),
        "memory_usage_megabytes": lambda: memory(handle).used / _MEGABYTE,
        "memory_usage_percentage": lambda: 100 * memory(handle).used / memory(handle).total,
        "power_usage_watts": lambda: power(handle) / 1000,
        "power_usage_percentage": lambda: 100 * power(handle) / nvml.nvmlDeviceGetEnforcedPowerLimit(handle),
    }
    metrics = {}
    for name, read in readings.items():
        with contextlib.suppress(nvml.NVMLError_NotSupported):
            metrics[f"gpu_{number}_{name}"] = read()
    return metrics
