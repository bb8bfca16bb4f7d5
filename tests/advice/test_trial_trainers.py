"""Trainers of trials: one device, whatever the machine and `torchrun` offer."""

from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import SingleDeviceStrategy

from plt_nn.advice.trial_trainers import on_one_device, quietly

QUIET: Any = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)


def test_other_processes_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    launched = {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "TORCHELASTIC_RUN_ID": "x", "GROUP_RANK": "0"}
    for name, value in launched.items():
        monkeypatch.setenv(name, value)
    with quietly():
        trainer = Trainer(**on_one_device("cpu"), **QUIET)
    assert type(trainer.strategy) is SingleDeviceStrategy
    assert trainer.world_size == 1
    assert trainer.strategy.root_device == torch.device("cpu")


@pytest.mark.parametrize(("device", "devices"), [("cpu", 1), ("cuda", [0]), ("cuda:1", [1])])
def test_one_device_of_several(device: str, devices: object) -> None:
    assert on_one_device(device)["devices"] == devices
    assert on_one_device(device)["accelerator"] == ("cpu" if device == "cpu" else "gpu")
