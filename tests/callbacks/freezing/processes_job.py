"""Freezing schedules on two processes, one scenario after the other; rank 0 writes what it saw.

Argument: a folder for the reports. Started by test_processes.py, which also runs `fit` on one process.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.strategies import DDPStrategy
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from plt_nn import BestLossStopping, FreezingSchedule, Phase
from plt_nn.data.sampling import EpochBatches
from plt_nn.data.tensors import TensorBatches
from plt_nn.errors import TrainingError

PHASES = [Phase("head"), Phase("last 1 stage", start="6 steps", lr_scale=0.5), Phase("all", start="plateau")]


class Net(LightningModule):
    """Knows nothing of plt_nn; every stage has a BatchNorm, the first phase leaves two of them frozen."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU())
        self.second = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU())
        self.top = nn.Linear(8, 1)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return nn.functional.mse_loss(self.top(self.second(self.first(batch.x))), batch.y)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        # A loss that gets no lower after the second epoch: the third phase begins at a plateau.
        loss = nn.functional.mse_loss(self.top(self.second(self.first(batch.x))), batch.y)
        self.log("val_loss", loss.clamp(min=0) * 0 + max(1.0, 3.0 - self.current_epoch), sync_dist=True)

    def configure_optimizers(self) -> Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)

    def train_dataloader(self) -> TensorBatches:
        return self.batches(0, 64, 16 // self.trainer.world_size, shuffle=True)

    def val_dataloader(self) -> TensorBatches:
        return self.batches(64, 96, 16, shuffle=False)

    def batches(self, begin: int, end: int, size: int, shuffle: bool) -> TensorBatches:
        x = torch.randn(96, 4, generator=torch.Generator().manual_seed(1))
        y = x.square().sum(1, keepdim=True)
        sampler = EpochBatches(end - begin, size, self.trainer.global_rank, self.trainer.world_size, shuffle)
        return TensorBatches(x[begin:end], y[begin:end], sampler)


class Gradients(Callback):
    """Keeps the gradients of every step, and how many parameters and buffers are exchanged."""

    def __init__(self) -> None:
        self.gradients: dict[str, Tensor] = {}
        self.exchanged: set[tuple[int, int]] = set()

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        for name, parameter in pl_module.named_parameters():
            if parameter.grad is not None:
                self.gradients[f"{trainer.global_step}/{name}"] = parameter.grad.clone()
        if isinstance(wrapped := trainer.strategy.model, DistributedDataParallel):
            self.exchanged.add((len(wrapped._module_parameters), len(wrapped.modules_buffers)))


def fit(world_size: int, callbacks: list[Callback], ckpt_path: Path | None = None, **arguments: Any) -> LightningModule:
    defaults: dict[str, Any] = {
        "accelerator": "cpu",
        "devices": world_size,
        "strategy": "ddp" if world_size > 1 else "auto",
    }
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "max_epochs": 6}
    settings = defaults | quiet | {"enable_checkpointing": False} | arguments
    trainer = Trainer(**settings, callbacks=callbacks, num_sanity_val_steps=0)
    module = Net()
    trainer.fit(module, ckpt_path=ckpt_path)
    return module


def drift(module: LightningModule) -> float:
    mine = nn.utils.parameters_to_vector(module.parameters()).detach()
    others = [torch.zeros_like(mine) for _ in range(2)]
    torch.distributed.all_gather(others, mine)
    return float((others[0] - others[1]).abs().max())


class OnOneRank(Callback):
    """Changes a weight on one of the processes."""

    def __init__(self, name: str) -> None:
        self.name = name

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        if trainer.global_rank == 1 and trainer.global_step == 3:
            with torch.no_grad():
                pl_module.get_parameter(self.name).view(-1)[0] += 1e-6


def error_of(run: Callable[[], object]) -> str:
    try:
        run()
    except TrainingError as error:
        return str(error)
    return "none"


def main(folder: Path) -> None:
    report: dict[str, Any] = {"drift": {}, "steps": {}}
    scenarios: dict[str, dict[str, Any]] = {
        "ddp": {},
        "find unused": {"strategy": "ddp_find_unused_parameters_true"},
        "static graph": {"strategy": DDPStrategy(static_graph=True)},
        "accumulate and clip": {"accumulate_grad_batches": 3, "gradient_clip_val": 0.5, "max_epochs": 8},
        "bf16": {"precision": "bf16-mixed"},
    }
    for name, arguments in scenarios.items():
        gradients = Gradients()
        module = fit(2, [FreezingSchedule(PHASES), gradients], **arguments)
        report["drift"][name] = drift(module)
        report["steps"][name] = sorted(gradients.exchanged)
        if torch.distributed.get_rank() == 0:
            save_file(gradients.gradients, folder / f"{name}.safetensors")
    report["differs"] = error_of(lambda: fit(2, [FreezingSchedule([Phase("head")]), OnOneRank("top.weight")]))
    report["frozen"] = error_of(lambda: fit(2, [FreezingSchedule([Phase("head")]), OnOneRank("first.0.bias")]))

    def resumable(name: str) -> list[Callback]:
        return [FreezingSchedule(PHASES), BestLossStopping(patience=9, dirpath=str(folder / name))]

    keep = ModelCheckpoint(folder / "steps", "{step}", every_n_train_steps=1, save_top_k=-1)
    whole = resumable("whole")
    expected = fit(2, [*whole, keep], enable_checkpointing=True).state_dict()
    report["not the same"] = []
    for step in (3, 6, 8, 13, 16):
        callbacks = resumable(f"resumed {step}")
        state = fit(2, callbacks, folder / "steps" / f"step={step}.ckpt").state_dict()
        progress = [
            callback.progress for callback in (whole[1], callbacks[1]) if isinstance(callback, BestLossStopping)
        ]
        if progress[0] != progress[1] or any(not torch.equal(state[name], expected[name]) for name in expected):
            report["not the same"].append(step)
    if torch.distributed.get_rank() == 0:
        (folder / "report.json").write_text(json.dumps(report))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    torch.distributed.destroy_process_group()  # left to the interpreter's end, its threads now and then abort it
