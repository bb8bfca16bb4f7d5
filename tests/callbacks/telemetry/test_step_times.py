"""Where the time of training goes: by a clock that is set by hand, in real fits, and on two real processes."""

import json
import os
import types
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers.logger import Logger
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from plt_nn.callbacks.telemetry import step_times
from plt_nn.callbacks.telemetry.step_time_counts import (
    StepInterval,
    StepTimer,
    data_warning,
    merge,
    samples_in,
    step_metrics,
)
from plt_nn.callbacks.telemetry.step_times import StepTimes
from plt_nn.errors import ConfigError
from tests import warm

Make = Callable[[], LightningModule]
Fit = Callable[..., Trainer]
ONE = ["perf/data_wait_ms_max", "perf/data_wait_ms_mean", "perf/samples_per_second"] + [
    "perf/step_ms_max",
    "perf/step_ms_mean",
]


class Recording(Logger):
    """Keeps what StepTimes logs, by step."""

    name = "recording"
    version = "0"

    def __init__(self) -> None:
        super().__init__()
        self.logged: list[tuple[int | None, dict[str, float]]] = []

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        if any(name.startswith("perf/") for name in metrics):
            self.logged.append((step, dict(metrics)))

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None: ...

    @property
    def steps(self) -> list[int | None]:
        return [step for step, _ in self.logged]

    def mean(self, name: str) -> float:
        return sum(metrics[f"perf/{name}"] for _, metrics in self.logged) / len(self.logged)


def test_a_timer_by_a_clock_set_by_hand() -> None:
    now = 100.0
    timer = StepTimer(clock=lambda: now)
    for _ in range(2):
        timer.begin_fetch()
        now += 3
        timer.end_fetch()
        now += 10  # forward
        timer.exchange.start()
        now += 100  # backward
        timer.exchange.stop()
        now += 20  # optimizer
        timer.end_batch(samples=4)
        now += 1000  # checkpoint
    timer.pause()
    now += 10000  # validation
    assert timer.interval(7.0) == StepInterval(elapsed=2266, waited=6, own=66, batches=2, samples=8, memory=7.0)
    timer.pause()
    assert timer.interval(0.0).elapsed == 2266
    timer.begin_fetch()
    now += 5
    timer.pause()
    assert timer.interval(0.0).elapsed == 2271


class Named(NamedTuple):
    x: Any
    y: Tensor


@pytest.mark.parametrize(
    ("batch", "samples"),
    [
        (torch.zeros(5, 3), 5),
        (torch.tensor(1.0), 1),
        ([torch.zeros(4, 3), torch.zeros(9)], 4),
        (Named((torch.zeros(6, 2), torch.zeros(1)), torch.zeros(9)), 6),
        ({"id": "a", "image": torch.zeros(3, 3), "label": torch.zeros(7)}, 3),
        (["a", "b"], 0),
        (object(), 0),
        (None, 0),
    ],
)
def test_samples_in_a_batch(batch: Any, samples: int) -> None:
    assert samples_in(batch) == samples


def test_the_metrics_of_one_process() -> None:
    assert step_metrics([StepInterval(4.0, 1.0, 3.0, 100, 800, 0.0)]) == {
        "perf/samples_per_second": 200.0,
        "perf/step_ms_mean": 40.0,
        "perf/step_ms_max": 40.0,
        "perf/data_wait_ms_mean": 10.0,
        "perf/data_wait_ms_max": 10.0,
    }


def test_the_metrics_of_three_processes() -> None:
    rows = [StepInterval(4.0, 1.0, 2.0, 100, 400, 1e9), StepInterval(4.0, 0.4, 3.5, 100, 400, 3e9)]
    assert step_metrics([*rows, StepInterval(5.0, 0.1, 0.5, 100, 0, 2e9)]) == pytest.approx(
        {
            "perf/samples_per_second": 160.0,
            "perf/step_ms_mean": 43.3333,
            "perf/step_ms_max": 50.0,
            "perf/data_wait_ms_mean": 5.0,
            "perf/data_wait_ms_max": 10.0,
            "perf/own_ms_mean": 20.0,
            "perf/own_ms_max": 35.0,
            "perf/slowest_rank": 1.0,
            "perf/gpu_memory_mb_max": 3000.0,
        },
        rel=1e-4,
    )


def test_samples_that_cannot_be_told_are_not_logged() -> None:
    assert "perf/samples_per_second" not in step_metrics([StepInterval(4.0, 1.0, 3.0, 100, 0, 0.0)])


def test_the_warning() -> None:
    fast, slow = StepInterval(20.0, 1.0, 3.0, 100, 800, 0.0), StepInterval(20.0, 12.0, 15.0, 100, 800, 0.0)
    assert data_warning([]) is None
    assert data_warning([fast]) is None
    assert data_warning([StepInterval(8.0, 4.9, 5.0, 100, 800, 0.0)]) is None, "too short to matter"
    alone, both = data_warning([slow]), data_warning([fast, slow])
    assert alone is not None
    assert "Of the 20 s in which this epoch trained, 12 s went by waiting for data (120 ms per step)" in alone
    assert "num_workers" in alone
    assert both is not None
    assert "12 s on process 1 went by" in both
    assert data_warning(merge([fast], [StepInterval(30.0, 29.0, 29.5, 100, 800, 0.0)])) is not None
    assert merge([fast], [slow]) == [StepInterval(40.0, 13.0, 18.0, 200, 1600, 0.0)]


def test_each_epoch_and_no_more_often_than_asked(fit: Fit, stranger: Make) -> None:
    for every, steps in {None: [4, 8], 3: [3, 4, 7, 8], 2: [2, 4, 6, 8], 100: [4, 8]}.items():
        logger = Recording()
        fit(stranger(), max_epochs=2, logger=logger, callbacks=[StepTimes(every)])
        assert logger.steps == steps
        for _, metrics in logger.logged:
            assert sorted(metrics) == ONE
            assert metrics["perf/step_ms_mean"] >= metrics["perf/data_wait_ms_mean"] > 0
            assert metrics["perf/samples_per_second"] == pytest.approx(16_000 / metrics["perf/step_ms_mean"])


def test_a_fit_that_ends_within_an_epoch(fit: Fit, stranger: Make) -> None:
    logger = Recording()
    fit(stranger(), max_epochs=9, max_steps=6, logger=logger, callbacks=[StepTimes()])
    assert logger.steps == [4, 6]


def test_accumulated_gradients_and_no_logger(fit: Fit, stranger: Make) -> None:
    logger = Recording()
    fit(stranger(), max_epochs=2, accumulate_grad_batches=2, logger=logger, callbacks=[StepTimes()])
    assert logger.steps == [2, 4]
    fit(stranger(), max_epochs=1, callbacks=[StepTimes()])
    fit(stranger(), fast_dev_run=True, callbacks=[StepTimes()])


class Clock:
    """Moves by a microsecond at each reading, and when a test says so; how busy the machine is makes no difference.

    Attributes:
        now: Seconds.
    """

    now = 0.0

    def __call__(self) -> float:
        self.now += 1e-6
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += seconds


CLOCK = Clock()


class SlowRows(TensorDataset):
    """Takes a while for each sample."""

    def __getitem__(self, index: Any) -> Any:
        CLOCK.pass_(0.002)
        return tuple(tensor[index] for tensor in self.tensors)


class Stream(IterableDataset[list[Tensor]]):
    """Samples without a length, which Lightning fetches one batch ahead."""

    def __iter__(self) -> Iterator[list[Tensor]]:
        for _ in range(64):
            CLOCK.pass_(0.002)
            yield [torch.randn(4), torch.randn(1)]


class SlowStep(Callback):
    """Takes 300 ms where it is told to."""

    def __init__(self, where: str) -> None:
        setattr(self, where, self._wait)

    def _wait(self, *args: Any) -> None:
        CLOCK.pass_(0.3)


def rows(kind: type[TensorDataset]) -> TensorDataset:
    return kind(torch.randn(64, 4), torch.randn(64, 1))


def trained(module: LightningModule, train: Any, *callbacks: Callback, **arguments: Any) -> Recording:
    logger = Recording()
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    settings: dict[str, Any] = {"accelerator": "cpu", "max_epochs": 2, "log_every_n_steps": 1} | quiet | arguments
    with patch.object(step_times, "StepTimer", partial(StepTimer, clock=CLOCK)):
        Trainer(**settings, logger=logger, callbacks=[StepTimes(), *callbacks]).fit(
            module, train, DataLoader(rows(TensorDataset), 32)
        )
    return logger


@pytest.mark.parametrize("dataset", [rows(SlowRows), Stream()], ids=["rows", "stream"])
def test_a_slow_loader_is_waited_for(stranger: Make, dataset: Any) -> None:
    fast = trained(stranger(), DataLoader(rows(TensorDataset), 16))
    slow = trained(stranger(), DataLoader(dataset, 16))
    assert slow.mean("data_wait_ms_mean") > 5 * fast.mean("data_wait_ms_mean")
    assert slow.mean("data_wait_ms_mean") > 0.5 * slow.mean("step_ms_mean")
    assert slow.mean("samples_per_second") < fast.mean("samples_per_second")


@pytest.mark.parametrize(
    ("where", "is_training"),
    [
        ("on_train_batch_start", True),
        ("on_train_batch_end", True),
        ("on_validation_batch_start", False),
        ("on_validation_end", False),
        ("on_train_epoch_start", False),
        ("on_train_epoch_end", False),
    ],
)
def test_what_else_takes_time_is_no_data_wait(stranger: Make, where: str, is_training: bool) -> None:
    logger = trained(stranger(), DataLoader(rows(TensorDataset), 16), SlowStep(where), val_check_interval=1)
    assert logger.mean("data_wait_ms_max") < 150
    assert (logger.mean("step_ms_mean") > 200) == is_training


def test_it_warns_once_of_a_slow_loader(stranger: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def sooner(intervals: list[StepInterval]) -> str | None:
        return data_warning(intervals, least=0.01)

    monkeypatch.setattr(step_times, "data_warning", sooner)
    with pytest.warns(UserWarning, match="waiting for data") as caught:
        trained(stranger(), DataLoader(rows(SlowRows), 16), max_epochs=3)
    assert len([warning for warning in caught if "waiting for data" in str(warning.message)]) == 1


def test_a_resumed_fit_counts_from_where_it_goes_on(fit: Fit, stranger: Make, tmp_path: Path) -> None:
    keep = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=1, save_top_k=-1)
    fit(stranger(), max_epochs=2, enable_checkpointing=True, callbacks=[keep])
    for step, steps in {4: [8, 12], 6: [8, 12]}.items():
        logger = Recording()
        fit(stranger(), tmp_path / f"step={step}.ckpt", max_epochs=3, logger=logger, callbacks=[StepTimes()])
        assert logger.steps == steps


class Fails(Callback):
    """Ends the fit with an error."""

    def on_train_batch_end(self, *args: Any) -> None:
        raise RuntimeError("out of memory")


def test_the_loop_is_left_as_it_was(fit: Fit, stranger: Make) -> None:
    callback = StepTimes()
    trainer = fit(stranger(), max_epochs=1, callbacks=[callback])
    assert "_on_before_fetch" not in vars(trainer.fit_loop.epoch_loop)
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    typed_loosely: Any = trainer
    typed_loosely.callbacks = [callback, Fails()]
    with pytest.raises(RuntimeError, match="out of memory"):
        trainer.fit(stranger(), DataLoader(rows(TensorDataset), 16))
    assert "_on_before_fetch" not in vars(trainer.fit_loop.epoch_loop)
    logger = Recording()
    fit(stranger(), max_epochs=1, logger=logger, callbacks=[callback])
    assert logger.steps == [4]


def test_the_profiler_still_hears_of_the_fetches(fit: Fit, stranger: Make) -> None:
    trainer = fit(stranger(), max_epochs=1, profiler="simple", callbacks=[StepTimes()])
    profiler: Any = trainer.profiler  # type: ignore[attr-defined]
    assert len(profiler.recorded_durations["[_TrainingEpochLoop].train_dataloader_next"]) == 4


def test_the_device_is_waited_for_where_an_interval_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """With CUDA's functions and the trainer replaced: the machines that run the tests have no GPU."""
    asked: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: asked.append("synchronize"))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: asked.append("reset"))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 3_000_000_000)
    logger, callback, batch = Recording(), StepTimes(every_n_steps=3), torch.zeros(16, 4)
    strategy = types.SimpleNamespace(root_device=torch.device("cuda", 0), model=None)
    trainer: Any = types.SimpleNamespace(strategy=strategy, loggers=[logger], global_step=7, log_every_n_steps=50)
    trainer.world_size, trainer.is_global_zero, trainer.is_last_batch = 1, True, False
    module = LightningModule()
    callback.on_fit_start(trainer, module)
    for number in range(7):
        callback._timer.begin_fetch()
        callback._timer.end_fetch()
        callback.on_train_batch_end(trainer, module, None, batch, number)
    assert asked == ["reset", "synchronize", "reset", "synchronize", "reset"]
    callback.on_validation_start(trainer, module)
    assert asked[5:] == ["synchronize"]
    assert [metrics["perf/gpu_memory_mb_max"] for _, metrics in logger.logged] == [3000, 3000]


@pytest.mark.parametrize("every", [0, -1])
def test_an_interval_without_steps(every: int) -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        StepTimes(every_n_steps=every)


def two_processes(folder: Path, slow: str) -> list[dict[str, Any]]:
    """What process 0 has logged, and that process 1 has logged nothing."""
    job = Path(__file__).with_name("times_job.py")
    done = warm.run_ranks(2, [job, folder, slow], env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    first, second = (json.loads((folder / f"rank{rank}.json").read_text())["metrics"] for rank in (0, 1))
    assert not second
    logged: list[dict[str, Any]] = [metrics for metrics in first if any(name.startswith("perf/") for name in metrics)]
    assert [metrics["step"] for metrics in logged] == [4, 8, 10, 14, 18, 20]
    return logged


@pytest.mark.slow
@pytest.mark.multiprocess
@pytest.mark.parametrize("slow", ["step", "loader"])
def test_the_straggler_of_two_processes(tmp_path: Path, slow: str) -> None:
    logged = two_processes(tmp_path, slow)
    for metrics in logged:
        assert metrics["perf/slowest_rank"] == 1
        assert metrics["perf/samples_per_second"] == pytest.approx(8000 / metrics["perf/step_ms_max"])
    mean = {name: sum(metrics[name] for metrics in logged) / len(logged) for name in logged[0]}
    assert mean["perf/own_ms_max"] > 1.3 * mean["perf/own_ms_mean"], "2 is the most that there can be"
    assert mean["perf/step_ms_max"] < 1.3 * mean["perf/step_ms_mean"], "the fast one waits"
    assert mean["perf/step_ms_mean"] > 150
    waits = mean["perf/data_wait_ms_max"] > 0.5 * mean["perf/step_ms_max"]
    assert waits == (slow == "loader")
