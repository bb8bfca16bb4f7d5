"""What a fit costs: trained parameters at each phase, and device time that goes on when a run is resumed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from plt_nn import Classifier, FreezingSchedule, Phase
from plt_nn.callbacks import FitCosts
from tests.callbacks.validation.figures_job import RecordingLogger

ROWS = {"head": 4 * 2 + 2, "all": 4 * 4 + 4 + 4 * 2 + 2}


class Kept(RecordingLogger):
    """Keeps rows of metrics and tags too."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[int, str, float]] = []
        self.tags: dict[str, str] = {}

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self.rows += [(int(step or 0), name, value) for name, value in metrics.items() if name.startswith("cost/")]

    def log_tags(self, tags: Mapping[str, str]) -> None:
        self.tags.update(tags)

    def of(self, name: str) -> list[tuple[int, float]]:
        return [(step, value) for step, key, value in self.rows if key == f"cost/{name}"]


def fit(folder: Path, epochs: int, *phases: Phase, ckpt_path: str | None = None) -> tuple[Kept, Trainer, FitCosts]:
    torch.manual_seed(0)
    logger, costs = Kept(), FitCosts()
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    options: dict[str, Any] = {"enable_model_summary": False, "enable_progress_bar": False}
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=logger,
        callbacks=[FreezingSchedule(list(phases)), costs],
        default_root_dir=folder,
        **options,
    )
    data = DataLoader(TensorDataset(torch.rand(8, 4), torch.zeros(8, dtype=torch.int64)), 4)
    trainer.fit(Classifier(net), data, data, ckpt_path=ckpt_path, weights_only=True)
    return logger, trainer, costs


def test_each_phase_tells_what_it_trains(tmp_path: Path) -> None:
    logger, *_ = fit(tmp_path, 3, Phase("head"), Phase("all", start=1), Phase("head", start=2))
    assert logger.of("trained_parameters") == [(0, ROWS["head"]), (2, ROWS["all"]), (4, ROWS["head"])]
    assert logger.of("most_trained_parameters")[-1] == (4, ROWS["all"])
    assert {value for _, value in logger.of("parameters")} == {ROWS["all"]}
    hours = [value for _, value in logger.of("device_hours")]
    assert len(hours) == 4, "one for each epoch, and the end"
    assert hours == sorted(hours)
    assert logger.tags["devices"] == "1 x CPU"


def test_a_resumed_run_goes_on_counting(tmp_path: Path) -> None:
    phases = Phase("all"), Phase("head", start=1)
    _, trainer, costs = fit(tmp_path, 1, *phases)
    costs._hours = 5.0  # as if it had taken long
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    logger, *_ = fit(tmp_path, 2, *phases, ckpt_path=str(tmp_path / "last.ckpt"))
    assert min(value for _, value in logger.of("device_hours")) == pytest.approx(5.0, abs=0.2)
    assert logger.of("device_hours")[0][1] > 5.0
    assert logger.of("trained_parameters") == [(2, ROWS["head"])]
    assert logger.of("most_trained_parameters") == [(2, ROWS["all"])]
