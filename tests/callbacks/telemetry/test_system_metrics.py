"""The load of the machine while a fit runs: when it is sampled, who hears of it, and that it harms nobody."""

import json
import os
import threading
import time
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers.logger import DummyLogger, Logger

from plt_nn.callbacks.telemetry import system_metrics, system_sampler
from plt_nn.callbacks.telemetry.system_metrics import SystemMetrics, root_process, used_gpus
from plt_nn.errors import ConfigError
from tests import warm

Make = Callable[[], LightningModule]
Fit = Callable[..., Trainer]


class RecordingLogger(Logger):
    """Keeps the metrics of machines, with a machine's number and how many there are; all else it lets go."""

    name = "recording"
    version = "0"

    def __init__(self) -> None:
        super().__init__()
        self.node_metrics: list[tuple[dict[str, float], int, int]] = []

    def log_node_metrics(self, metrics: Mapping[str, float], node: int, nodes: int) -> None:
        self.node_metrics.append((dict(metrics), node, nodes))

    def _let_go(self, *args: Any, **kwargs: Any) -> None: ...

    log_metrics = log_hyperparams = log_file = log_text = log_figure = log_dataset = log_model = _let_go
    log_tags = log_note = ui_command = _let_go


class Awaits(Callback):
    """Lets no epoch end before so many samples more have come; notes the threads that sample."""

    def __init__(self, logger: "RecordingLogger | None" = None, samples: int = 1) -> None:
        self.logger, self.samples = logger, samples
        self.threads: set[str] = set()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.threads |= names()
        wanted = self.samples * (trainer.current_epoch + 1)
        while self.logger is not None and len(self.logger.node_metrics) < wanted:
            time.sleep(0.01)
        time.sleep(2 * system_metrics._TOO_SOON)  # so that there is a last sample too


class Fails(Callback):
    """Ends the fit with an error."""

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        raise RuntimeError("out of memory")


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may take its time for a sample."""
    monkeypatch.setattr(system_metrics, "_PATIENCE", warm.PATIENCE)


@pytest.fixture
def none_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """No fit lasts until its first sample, however busy the machine is."""
    monkeypatch.setattr(system_metrics, "_SOON", 3600.0)


def names() -> set[str]:
    return {thread.name for thread in threading.enumerate() if "system-metrics" in thread.name}


def test_a_fit_is_sampled_soon_regularly_and_at_its_end(fit: Fit, stranger: Make) -> None:
    logger = RecordingLogger()
    awaits = Awaits(logger)
    fit(stranger(), max_epochs=3, logger=logger, callbacks=[SystemMetrics(interval=0.2), awaits])
    assert awaits.threads == {"plt_nn-system-metrics"}
    assert not names()
    assert len(logger.node_metrics) >= 3
    for metrics, node, nodes in logger.node_metrics:
        assert (node, nodes) == (0, 1)
        assert {"cpu_utilization_percentage", "process_cpu_percentage", "process_memory_megabytes"} <= metrics.keys()
        assert not any(name.startswith(("gpu", "system/")) for name in metrics)


def test_the_first_sample_does_not_wait_for_the_interval(fit: Fit, stranger: Make) -> None:
    logger = RecordingLogger()
    fit(stranger(), max_epochs=1, logger=logger, callbacks=[SystemMetrics(interval=3600), Awaits(logger)])
    assert len(logger.node_metrics) == 2  # soon, and at the end


@pytest.mark.usefixtures("none_soon")
def test_a_short_fit_has_one_sample(fit: Fit, stranger: Make) -> None:
    logger = RecordingLogger()
    fit(stranger(), max_epochs=1, logger=logger, callbacks=[SystemMetrics(3600)])
    assert len(logger.node_metrics) == 1


@pytest.mark.usefixtures("none_soon")
def test_many_fits_leave_no_threads(fit: Fit, stranger: Make) -> None:
    callback, before = SystemMetrics(3600), threading.active_count()
    for number in range(8):
        logger = RecordingLogger()
        trainer_arguments: dict[str, Any] = {"max_epochs": 1, "logger": logger, "limit_train_batches": 1}
        if number % 2:
            with pytest.raises(RuntimeError, match="out of memory"):
                fit(stranger(), callbacks=[callback, Fails()], **trainer_arguments)
        else:
            fit(stranger(), callbacks=[callback], **trainer_arguments)
        assert len(logger.node_metrics) == 1, "an exception too is an end"
        assert not names()
    assert threading.active_count() == before


@pytest.mark.usefixtures("none_soon")
def test_a_resumed_fit_is_sampled_too(fit: Fit, stranger: Make, tmp_path: Path) -> None:
    trainer = fit(stranger(), max_epochs=1, callbacks=[SystemMetrics()])
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    logger = RecordingLogger()
    fit(stranger(), tmp_path / "one.ckpt", max_epochs=2, logger=logger, callbacks=[SystemMetrics(3600)])
    assert len(logger.node_metrics) == 1


def test_nobody_listens(fit: Fit, stranger: Make) -> None:
    for logger in (False, DummyLogger()):
        awaits = Awaits()
        fit(stranger(), max_epochs=1, logger=logger, callbacks=[SystemMetrics(), awaits])
        assert not awaits.threads


def test_what_fails_ends_with_one_warning(fit: Fit, stranger: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> dict[str, float]:
        raise PermissionError("/proc/diskstats")

    monkeypatch.setattr(system_sampler, "disk_metrics", broken)
    logger = RecordingLogger()
    with pytest.warns(UserWarning, match="The disk of this machine .*PermissionError") as caught:
        fit(stranger(), max_epochs=2, logger=logger, callbacks=[SystemMetrics(interval=0.1), Awaits(logger, 2)])
    assert len([warning for warning in caught if "SystemMetrics" in str(warning.message)]) == 1
    assert len(logger.node_metrics) > 2
    assert all("cpu_utilization_percentage" in metrics for metrics, _, _ in logger.node_metrics)
    assert not any("disk_usage_percentage" in metrics for metrics, _, _ in logger.node_metrics)


class Refuses(RecordingLogger):
    """A logger that cannot."""

    def log_node_metrics(self, metrics: Mapping[str, float], node: int, nodes: int) -> None:
        super().log_node_metrics(metrics, node, nodes)
        raise OSError("no space left on device")


def test_a_logger_that_fails_is_asked_once(fit: Fit, stranger: Make) -> None:
    refuses, takes = Refuses(), RecordingLogger()
    with pytest.warns(UserWarning, match="Refuses did not take .*no space left"):
        fit(stranger(), max_epochs=2, logger=[refuses, takes], callbacks=[SystemMetrics(0.1), Awaits(takes, 2)])
    assert len(refuses.node_metrics) == 1
    assert len(takes.node_metrics) > 2


def test_a_sampler_that_is_stuck_does_not_hold_the_fit(
    fit: Fit, stranger: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = threading.Event()

    def stuck() -> dict[str, float]:
        free.wait(60)
        return {}

    monkeypatch.setattr(system_sampler, "disk_metrics", stuck)
    monkeypatch.setattr(system_metrics, "_PATIENCE", 0.1)
    logger = RecordingLogger()
    fit(stranger(), max_epochs=1, logger=logger, callbacks=[SystemMetrics()])
    (thread,) = (thread for thread in threading.enumerate() if "system-metrics" in thread.name)
    free.set()
    thread.join()
    assert not logger.node_metrics, "the run is over"


@pytest.mark.parametrize("interval", [0.0, -1.0, 0.05, float("nan")])
def test_an_interval_that_is_too_short(interval: float) -> None:
    with pytest.raises(ConfigError, match=r"at least 0\.1"):
        SystemMetrics(interval=interval)


def test_only_the_gpus_of_this_trainer(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the properties of CUDA devices replaced: the machines that run the tests have none."""

    def trainer(**strategy: Any) -> Any:
        return types.SimpleNamespace(strategy=types.SimpleNamespace(**strategy))

    def properties(number: int) -> Any:
        return types.SimpleNamespace(uuid=f"uuid {number}")

    monkeypatch.setattr(torch.cuda, "get_device_properties", properties)
    cpu, cuda = torch.device("cpu"), [torch.device("cuda", number) for number in range(4)]
    assert used_gpus(trainer(root_device=cpu)) == {}
    assert used_gpus(trainer(root_device=cpu, parallel_devices=[cpu, cpu])) == {}
    assert used_gpus(trainer(root_device=cuda[2])) == {2: "uuid 2"}
    assert used_gpus(trainer(root_device=torch.device("cuda"))) == {0: "uuid 0"}
    assert used_gpus(trainer(root_device=cuda[1], parallel_devices=cuda[1:3])) == {1: "uuid 1", 2: "uuid 2"}
    assert used_gpus(trainer(root_device=cuda[1], parallel_devices=None)) == {1: "uuid 1"}


def test_the_process_above_all_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    assert root_process(1) == root_process(2) == os.getpid()
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    assert root_process(1) == os.getpid()
    assert root_process(2) == os.getppid()


@pytest.mark.slow
@pytest.mark.multiprocess
def test_two_processes_have_one_sampler(tmp_path: Path) -> None:
    job = Path(__file__).with_name("times_job.py")
    # Both are forked from one that does not train: it is above them, and the memory of all three counts.
    done = warm.run([job, tmp_path, "system"], env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    first, second = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1))
    assert first["samples"]
    assert not second["samples"]
    both = first["rss"] + second["rss"]
    last = first["samples"][-1]["process_memory_megabytes"]
    assert last > 0.8 * both, "the memory of both processes"
