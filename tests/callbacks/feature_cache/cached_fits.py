"""Fits with and without `FrozenFeatureCache` that must come to the same, for its tests and for two processes.

As a script: the folder for the features and the facts, and a further callback, one of `FURTHER`; started on each of two
ranks by test_frozen_feature_cache.py, test_channels_last.py and test_compile_net.py.
"""

import json
import sys
from collections.abc import Callable
from functools import cache as cache_of_calls
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from plt_nn import FreezingSchedule, FrozenFeatureCache, Phase
from plt_nn.callbacks import ChannelsLast, CompileNet, StepSeeds
from plt_nn.features.costs import Costs
from plt_nn.frontier.cut import Frontier

SAMPLES, SIDE = 42, 6
FURTHER: dict[str, Callable[[], Callback]] = {
    "channels last": ChannelsLast,
    "compile net": lambda: CompileNet(backend="aot_eager"),
}
PHASES = (Phase("head"), Phase("last 1 stages", start=3, lr_scale=0.5), Phase("all", start=5, lr_scale=0.1))


class Pictures(LightningModule):
    """Classifies small pictures; a stranger to plt_nn, with dropout before its head and BatchNorm in its backbone."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True)),
            nn.Sequential(nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Dropout2d(0.1)),
            nn.Flatten(),
        )
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(32, 3))
        for number, (name, parameter) in enumerate(self.named_parameters()):
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(number))
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self.head(self.backbone(batch[0])), batch[1])

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("val_loss", self.training_step(batch, batch_idx))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=0.02)


class History(Callback):
    """The loss of each step and each validation, and a number drawn after each step."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *arguments: Any) -> None:
        self.losses.append(float(outputs["loss"] if isinstance(outputs, dict) else outputs))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.losses.append(float(trainer.callback_metrics["val_loss"]))


def cache(folder: Path, **arguments: Any) -> FrozenFeatureCache:
    return FrozenFeatureCache(folder=str(folder / "features"), **arguments)


def same(one: nn.Module, other: nn.Module) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


class Computed:
    """Counts the samples that go through a frozen part while it is entered."""

    def __init__(self) -> None:
        self._before = patch.object(Frontier, "before", autospec=True, side_effect=Frontier.before)
        self.samples = 0

    def __enter__(self) -> "Computed":
        self._calls = self._before.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.samples = sum(len(call.args[1]) for call in self._calls.call_args_list)
        self._before.stop()


def loaders(workers: int = 0) -> tuple[DataLoader[Any], DataLoader[Any]]:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(SAMPLES, 1, SIDE, SIDE, generator=generator)
    y = torch.randint(0, 3, (SAMPLES,), generator=generator)
    data = TensorDataset(x, y)
    return DataLoader(data, 8, shuffle=True, num_workers=workers), DataLoader(TensorDataset(x[:20], y[:20]), 8)


def fit(
    cache: FrozenFeatureCache | None,
    module: LightningModule | None = None,
    phases: tuple[Phase, ...] = PHASES,
    seeds: bool = True,
    callbacks: tuple[Callback, ...] = (),
    data: tuple[DataLoader[Any], DataLoader[Any]] | None = None,
    ckpt_path: Path | None = None,
    **trainer: Any,
) -> tuple[list[float], LightningModule]:
    """The losses of a fit, and what was trained."""
    seed_everything(0, verbose=False)
    history, module = History(), Pictures() if module is None else module
    more: list[Callback] = [*callbacks, *([StepSeeds()] if seeds else []), *([cache] if cache else [])]
    arguments: dict[str, Any] = {"accelerator": "cpu", "max_epochs": 6, "logger": False, "enable_checkpointing": False}
    quiet = {"enable_progress_bar": False, "enable_model_summary": False}
    made = Trainer(**(arguments | quiet | trainer), callbacks=[history, FreezingSchedule(phases), *more])
    train, val = data or loaders()
    made.fit(module, train, val, ckpt_path=ckpt_path, weights_only=True if ckpt_path else None)
    return history.losses, module


@cache_of_calls
def plain_fit(phases: tuple[Phase, ...] = PHASES) -> tuple[list[float], LightningModule]:
    """A fit without features, run once for all tests."""
    return fit(None, phases=phases)


def plain_losses(phases: tuple[Phase, ...] = PHASES) -> list[float]:
    """The losses of this fit."""
    return plain_fit(phases)[0]


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    many: Any = {"strategy": "ddp", "devices": 2, "callbacks": tuple(FURTHER[name]() for name in sys.argv[2:])}
    many |= {"max_epochs": 4, "phases": (Phase("head"), Phase("last 1 stages", start=2, lr_scale=0.5))}
    plain, _ = fit(None, **many)
    with patch.object(Costs, "pays", return_value=True):  # whatever else this machine has to do
        with Computed() as first:
            cached, trained = fit(FrozenFeatureCache(folder=str(folder / "features")), **many)
        with Computed() as second:
            again, _ = fit(FrozenFeatureCache(folder=str(folder / "features")), **many)
    rank = torch.distributed.get_rank()
    weights = torch.cat([parameter.detach().flatten() for parameter in trained.parameters()]).tolist()
    facts = {"plain": plain, "cached": cached, "again": again, "weights": weights}
    facts["computed"] = [first.samples, second.samples]
    (folder / f"rank{rank}.json").write_text(json.dumps(facts))
    torch.distributed.destroy_process_group()  # left to the interpreter's end, its threads now and then abort it
