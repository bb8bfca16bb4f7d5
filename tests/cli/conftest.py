"""Calls of `plt-nn`, in this process or as one of their own, in a folder of their own; and one run to look at."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from plt_nn.cli.main import main
from tests import warm
from tests.cli.chromium import ARGUMENTS, CHROMIUM
from tests.deliveries import until_all_delivered

Completed = subprocess.CompletedProcess[str]

TINY = """
seed_everything: 0
trainer:
  accelerator: cpu
  max_epochs: 3
  enable_model_summary: false
  enable_progress_bar: false
  log_every_n_steps: 10
  callbacks:
    - class_path: plt_nn.BestLossStopping
      init_args: {monitor: val_loss, patience: 5}
model:
  class_path: plt_nn.Classifier
  init_args:
    net:
      class_path: plt_nn.MLP
      init_args: {in_features: 64, hidden: [16], out_features: 10}
    optimizer:
      class_path: torch.optim.AdamW
      init_args: {lr: 0.01}
data:
  class_path: plt_nn.DigitsData
  init_args: {layout: flat, batch_size: 64}
"""


def environment() -> dict[str, str]:
    """That of a fresh shell, whatever other tests have set in this process."""
    set_by_us = ("MLFLOW_TRACKING_URI", "PL_GLOBAL_SEED", "PLT_NN_DEBUG")
    plain = {name: value for name, value in os.environ.items() if name not in set_by_us}
    return plain | {"OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "COLUMNS": "200"}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder of its own; what a command sets in this process is taken back after the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["plt-nn"])
    for name in ("MLFLOW_TRACKING_URI", "PL_GLOBAL_SEED", "PLT_NN_DEBUG"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "200")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the processes that are started: the last bits of a sum depend on it
    yield tmp_path
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def few(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that leads to some of the photographs."""
    folder = tmp_path_factory.mktemp("few") / "photos"
    for kind in ("ants", "bees"):
        (folder / kind).mkdir(parents=True)
        for file in sorted((photos / "train" / kind).iterdir())[:40]:
            (folder / kind / file.name).symlink_to(file)
    return folder


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Callable[..., Completed]:
    """Calls `plt-nn` with these words in this process, as the program does."""

    def run(*words: str | Path) -> Completed:
        capfd.readouterr()
        try:
            status = main([str(word) for word in words])
        except SystemExit as exit_:  # argparse's help and errors
            status = int(exit_.code or 0)
        return subprocess.CompletedProcess(words, status, *capfd.readouterr())

    return run


@pytest.fixture(scope="session")
def process() -> Callable[..., Completed]:
    """Calls `python -m plt_nn` with these words, as a process of its own."""

    def run(*words: str | Path, folder: Path | None = None) -> Completed:
        command = [sys.executable, "-m", "plt_nn", *map(str, words)]
        return subprocess.run(
            command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=warm.PATIENCE, check=False
        )

    return run


@pytest.fixture(scope="session")
def warm_process() -> Callable[..., Completed]:
    """The same, as a process that has its imports behind it."""
    return lambda *words: warm.run(["-m", "plt_nn", *words], env=environment())


@pytest.fixture
def start_warm() -> Callable[..., warm.Process]:
    """Starts it and comes back at once; output and errors go the same way."""
    return lambda *words: warm.Process(["-m", "plt_nn", *words], env=environment(), together=True)


@pytest.fixture
def start() -> Callable[..., subprocess.Popen[str]]:
    """The same, as a process that has imported nothing, and whose output can be read while it runs."""

    def run(*words: str | Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "plt_nn", *map(str, words)],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return run


@pytest.fixture
def tiny(here: Path) -> Callable[..., Path]:
    """Writes the configuration of a fit that takes a second, after `change` has had its way with it."""

    def write(change: Callable[[dict[str, Any]], object] = lambda config: None, name: str = "tiny.yaml") -> Path:
        config = yaml.safe_load(TINY)
        change(config)
        (here / name).write_text(yaml.safe_dump(config, sort_keys=False))
        return here / name

    return write


@pytest.fixture
def store(here: Path, empty_database: Path) -> Path:
    """An `mlruns` without runs in the working folder."""
    (here / "mlruns").mkdir()
    shutil.copy(empty_database, here / "mlruns")
    return here / "mlruns"


@pytest.fixture(scope="session")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Completed]:
    """A folder in which the tiny configuration was fitted once, and what that printed. To be read only."""
    folder = tmp_path_factory.mktemp("fitted")
    (folder / "tiny.yaml").write_text(TINY)
    done = warm.run(["-m", "plt_nn", "fit", "--config", "tiny.yaml"], cwd=folder, env=environment())
    assert done.returncode == 0, done.stdout + done.stderr
    until_all_delivered(folder / "mlruns")
    return folder, done


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, driven by playwright."""
    from playwright.sync_api import sync_playwright  # of use to two files alone

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()
