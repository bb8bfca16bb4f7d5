"""Resumed from any of its checkpoints, a run is bit for bit the run that was never interrupted."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor
from torch.optim import Optimizer

from plt_nn import BestLossStopping, FreezingSchedule, Phase
from plt_nn.data.sampling import EpochBatches
from plt_nn.data.tensors import TensorBatches

Make = Callable[[], LightningModule]
PHASES = [
    Phase("head"),
    Phase("last 1 stage", start="6 steps", warmup=4, norm="train"),
    Phase("all", start="plateau", patience=2, lr_scale=0.3, layer_decay=0.5),
]


@dataclass
class Record(Callback):
    """All that a run has been: what was trained at which rates in each step, and how it ended."""

    steps: dict[int, tuple[Any, ...]] = field(default_factory=dict)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        trained = tuple(name for name, parameter in pl_module.named_parameters() if parameter.requires_grad)
        training = tuple(name for name, module in pl_module.named_modules() if module.training)
        rates = tuple(group["lr"] * group["lr_factor"] for group in optimizer.param_groups)
        self.steps[trainer.global_step] = (trainer.current_epoch, trained, training, rates)

    def __hash__(self) -> int:
        return id(self)


@dataclass
class Run:
    """A finished run."""

    module: LightningModule
    trainer: Trainer
    schedule: FreezingSchedule
    stopping: BestLossStopping
    record: Record

    def facts(self) -> dict[str, Any]:
        scheduler = self.trainer.lr_scheduler_configs[0].scheduler
        return {
            "weights": self.module.state_dict(),
            "optimizer": self.trainer.optimizers[0].state_dict(),
            "scheduler": scheduler.state_dict(),
            "progress": self.stopping.progress,
            "best metrics": self.stopping.best_metrics,
            "schedule": (self.schedule.current, self.schedule._began, self.schedule._plateaus),
            "stopped": (self.trainer.global_step, self.stopping.stop_reason),
        }


def fit(make: Make, folder: Path, ckpt_path: Path | None = None, *extra: Callback, **arguments: Any) -> Run:
    module = make()
    module.get_submodule("model.middle.3").p = 0.0  # type: ignore[assignment]  # see StepSeeds for random numbers
    x = torch.randn(96, 4, generator=torch.Generator().manual_seed(0))
    y = x.square().sum(1, keepdim=True)
    train = TensorBatches(x[:64], y[:64], EpochBatches(64, 16, shuffle=True))
    val = TensorBatches(x[64:], y[64:], EpochBatches(32, 32))
    schedule, record = FreezingSchedule(PHASES), Record()

    def validation_step(batch: list[Tensor], batch_idx: int) -> None:  # a plateau after step 16
        loss = torch.nn.functional.mse_loss(module.get_submodule("model")(batch[0]), batch[1])
        module.log("val_loss", loss * 1e-3 + max(0, 16 - trainer.global_step) + trainer.global_step * 1e-2)

    module.validation_step = validation_step  # type: ignore[method-assign]
    stopping = BestLossStopping(patience=6, unit="checks", best_of="phase", restore=False, dirpath=str(folder / "best"))
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False, "accelerator": "cpu"}
    callbacks = [schedule, stopping, record, *extra]
    settings = {"val_check_interval": 2, "default_root_dir": folder, "num_sanity_val_steps": 0}
    trainer = Trainer(**{**quiet, **settings, **arguments}, enable_checkpointing=bool(extra), callbacks=callbacks)
    trainer.fit(module, train, val, ckpt_path=ckpt_path)
    return Run(module, trainer, schedule, stopping, record)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return isinstance(b, list | tuple) and len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


@pytest.mark.parametrize(("accumulate", "epochs"), [(1, 9), (3, 14)])
def test_from_every_checkpoint_of_a_run(stranger: Make, tmp_path: Path, accumulate: int, epochs: int) -> None:
    settings = {"accumulate_grad_batches": accumulate, "max_epochs": epochs}
    every_step = ModelCheckpoint(tmp_path / "steps", "{step}", every_n_train_steps=1, save_top_k=-1)
    after_checks = ModelCheckpoint(tmp_path / "checks", "{epoch}-{step}", save_top_k=-1, monitor=None)
    whole = fit(stranger, tmp_path / "whole", None, every_step, after_checks, **settings)
    expected = whole.facts()
    assert whole.schedule.current == 2, "the run has gone through all phases"
    assert whole.stopping.stop_reason is not None, "the last checkpoints are of a run that has stopped"
    checkpoints = sorted((tmp_path / "steps").iterdir()) + sorted((tmp_path / "checks").iterdir())
    assert len(checkpoints) >= 20
    for number, checkpoint in enumerate(checkpoints):
        resumed = fit(stranger, tmp_path / f"{number}", checkpoint, **settings)
        facts = resumed.facts()
        different = [name for name in expected if not same(expected[name], facts[name])]
        assert not different, (checkpoint.name, different)
        done = whole.record.steps.keys() - resumed.record.steps.keys()
        assert all(step < min(resumed.record.steps, default=10**6) for step in done), checkpoint.name
        assert resumed.record.steps == {step: whole.record.steps[step] for step in resumed.record.steps}
