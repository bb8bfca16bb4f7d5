"""What the sampler measures: the real machine and real processes, and GPUs as a fake NVML has them."""

import importlib.util
import os
import subprocess
import sys
import time
import types
from pathlib import Path
from typing import Any

import psutil
import pytest

from plt_nn.callbacks.telemetry import system_sampler
from plt_nn.callbacks.telemetry.system_sampler import (
    ProcessTree,
    limited_memory,
    memory_metrics,
    sample,
    system_sources,
)

GIB = 1024**3
BUSY = "print('ready', flush=True)\nwhile True: pass"
HELD = "held = bytearray(b'x') * 300_000_000\nprint('ready', flush=True)\ninput()"


def test_a_real_sample_has_mlflows_names() -> None:
    sources = system_sources({}, os.getpid())
    sample(sources)
    metrics, failures = sample(sources)
    assert not failures
    assert set(metrics) == {
        "cpu_utilization_percentage",
        "disk_available_megabytes",
        "disk_usage_megabytes",
        "disk_usage_percentage",
        "network_receive_megabytes",
        "network_transmit_megabytes",
        "process_cpu_percentage",
        "process_memory_megabytes",
        "system_memory_usage_megabytes",
        "system_memory_usage_percentage",
    }
    assert all(isinstance(value, float) for value in metrics.values())
    for name in ("cpu_utilization_percentage", "disk_usage_percentage", "system_memory_usage_percentage"):
        assert 0 <= metrics[name] <= 100
    assert metrics["process_memory_megabytes"] > 10


def test_the_names_are_those_of_the_installed_mlflow() -> None:
    monitors = ("cpu_monitor", "disk_monitor", "network_monitor", "gpu_monitor")
    mlflow = importlib.util.find_spec("mlflow")  # importing it takes seconds
    assert mlflow is not None
    assert mlflow.origin is not None
    folder = Path(mlflow.origin).parent / "system_metrics" / "metrics"
    theirs = " ".join((folder / f"{name}.py").read_text() for name in monitors)
    ours, _ = sample(system_sources({}, os.getpid()))
    for name in (name for name in ours if not name.startswith("process_")):
        assert f'"{name}"' in theirs
    for name in ("utilization_percentage", "memory_usage_megabytes", "memory_usage_percentage", "power_usage_watts"):
        assert f'"gpu_{{i}}_{name}"' in theirs


def test_a_source_that_fails_is_left_out_from_then_on() -> None:
    def broken() -> dict[str, float]:
        raise OSError("no such counter")

    sources: dict[str, system_sampler.Source] = {"good": lambda: {"a": 1.0}, "bad": broken, "also": lambda: {"b": 2.0}}
    metrics, failures = sample(sources)
    assert metrics == {"a": 1.0, "b": 2.0}
    assert list(failures) == ["bad"]
    assert sample(sources) == (metrics, {})


@pytest.mark.parametrize(
    ("limit", "current", "stat", "expected"),
    [
        ("", "", "", (10 * GIB, 64 * GIB)),
        ("max\n", f"{GIB}\n", "", (10 * GIB, 64 * GIB)),
        (f"{128 * GIB}\n", f"{GIB}\n", "", (10 * GIB, 64 * GIB)),  # more than there is
        (f"{8 * GIB}\n", f"{3 * GIB}\n", "", (3 * GIB, 8 * GIB)),
        (f"{8 * GIB}\n", f"{3 * GIB}\n", f"anon 5\ninactive_file {GIB}\nactive_file 7\n", (2 * GIB, 8 * GIB)),
        (f"{8 * GIB}\n", f"{GIB}\n", f"inactive_file {2 * GIB}\n", (0, 8 * GIB)),  # read at different moments
    ],
)
def test_a_containers_memory(limit: str, current: str, stat: str, expected: tuple[int, int]) -> None:
    assert limited_memory(10 * GIB, 64 * GIB, limit, current, stat) == expected


def test_the_files_of_a_container(tmp_path: Path) -> None:
    assert memory_metrics(tmp_path)["system_memory_usage_percentage"] == pytest.approx(
        psutil.virtual_memory().percent, abs=20
    )
    for name, content in {"max": "200000000\n", "current": "70000000\n", "stat": "inactive_file 20000000\n"}.items():
        (tmp_path / f"memory.{name}").write_text(content)
    assert memory_metrics(tmp_path) == {
        "system_memory_usage_megabytes": 50.0,
        "system_memory_usage_percentage": pytest.approx(25.0),
    }


def started(code: str) -> "subprocess.Popen[str]":
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def test_children_count_as_long_as_they_live() -> None:
    tree = ProcessTree(os.getpid())
    alone = tree()
    assert set(alone) == {"process_memory_megabytes"}, "a rate needs two calls"
    with started(HELD) as child:
        assert tree()["process_memory_megabytes"] > alone["process_memory_megabytes"] + 250
        child.communicate("\n")
    assert tree()["process_memory_megabytes"] < alone["process_memory_megabytes"] + 250


def test_a_busy_child_is_busy() -> None:
    tree = ProcessTree(os.getpid())
    with started(BUSY) as child:
        try:
            began = time.monotonic()
            tree()
            before = psutil.Process(child.pid).cpu_times().user
            while psutil.Process(child.pid).cpu_times().user < before + 0.5:  # however little of a core it gets
                time.sleep(0.01)
            percentage = tree()["process_cpu_percentage"]
            assert percentage > 0.9 * 100 * 0.5 / (time.monotonic() - began), "what it got of a core"
        finally:
            child.kill()


class NVMLError(Exception):
    """Stands for pynvml's."""


class NotSupportedError(NVMLError):
    """Stands for pynvml's NVMLError_NotSupported."""


def fake_nvml(**replaced: Any) -> types.ModuleType:
    """Stands for NVML, for the machines that run the tests have no GPU: its functions that the sampler calls."""

    def limit(handle: str) -> int:
        if handle == "card b":
            raise NotSupportedError("a card without a limit")
        return 400_000

    module: Any = types.ModuleType("pynvml")
    module.NVMLError, module.NVMLError_NotSupported = NVMLError, NotSupportedError
    module.nvmlInit = lambda: None
    module.nvmlDeviceGetHandleByUUID = {"GPU-aaa": "card a", "GPU-bbb": "card b"}.__getitem__
    module.nvmlDeviceGetUtilizationRates = lambda handle: types.SimpleNamespace(gpu=87, memory=40)
    module.nvmlDeviceGetMemoryInfo = lambda handle: types.SimpleNamespace(total=80_000_000_000, used=20_000_000_000)
    module.nvmlDeviceGetPowerUsage = lambda handle: 300_000
    module.nvmlDeviceGetEnforcedPowerLimit = limit
    vars(module).update(replaced)
    nvml: types.ModuleType = module
    return nvml


def test_gpus_are_found_by_their_uuid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml())
    sources = system_sources({0: "bbb", 3: "aaa"}, os.getpid())
    metrics, failures = sample(sources)
    assert not failures
    assert {name: value for name, value in metrics.items() if name.startswith("gpu")} == {
        "gpu_0_utilization_percentage": 87.0,
        "gpu_0_memory_usage_megabytes": 20_000.0,
        "gpu_0_memory_usage_percentage": 25.0,
        "gpu_0_power_usage_watts": 300.0,
        "gpu_3_utilization_percentage": 87.0,
        "gpu_3_memory_usage_megabytes": 20_000.0,
        "gpu_3_memory_usage_percentage": 25.0,
        "gpu_3_power_usage_watts": 300.0,
        "gpu_3_power_usage_percentage": 75.0,
    }


def test_a_gpu_that_fails_takes_nothing_else_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml())
    sources = system_sources({0: "aaa", 1: "fallen off the bus"}, os.getpid())
    metrics, failures = sample(sources)
    assert list(failures) == ["GPU 1"]
    assert "gpu_0_utilization_percentage" in metrics
    assert "cpu_utilization_percentage" in metrics


def test_without_a_driver_there_are_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    def init() -> None:
        raise NVMLError("NVML Shared Library Not Found")

    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml(nvmlInit=init))
    assert not system_sampler.gpu_sources({0: "aaa"})


def test_without_pynvml_there_are_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert not system_sampler.gpu_sources({0: "aaa"})


def test_the_real_pynvml_has_what_the_fake_one_has() -> None:
    pynvml = importlib.import_module("pynvml")
    for name in (name for name in vars(fake_nvml()) if not name.startswith("__")):
        assert hasattr(pynvml, name)
    if not Path("/dev/nvidia0").exists():
        assert not system_sampler.gpu_sources({0: "aaa"})
