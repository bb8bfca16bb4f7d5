"""Phases begin at epochs, at steps in mid-epoch, and at plateaus; their learning rates are what they say."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor

from plt_nn import FreezingSchedule, Phase
from plt_nn.errors import ConfigError

Make = Callable[[], LightningModule]
Fit = Callable[..., Trainer]


class Rates(Callback):
    """Notes at each step which parameters require gradients and the learning rate of each group that is trained."""

    def __init__(self) -> None:
        self.trained: list[set[str]] = []
        self.rates: list[dict[str, float]] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        own: Any = pl_module.configure_optimizers

        def configure_optimizers() -> Any:  # a hook that is there from the start comes before the schedule's own
            made = own()
            made["optimizer"].register_step_post_hook(lambda optimizer, *rest: self.note(optimizer, pl_module))
            return made

        pl_module.configure_optimizers = configure_optimizers  # type: ignore[method-assign]

    def note(self, optimizer: torch.optim.Optimizer, module: LightningModule) -> None:
        self.trained.append({name.split(".")[1] for name, p in module.named_parameters() if p.requires_grad})
        groups = [group for group in optimizer.param_groups if group["params"][0].requires_grad]
        self.rates.append({group["stage"]: group["lr"] for group in groups})


def validation_losses(module: LightningModule, losses: list[float]) -> LightningModule:
    """Lets the module log given validation losses, one after the other, whatever the weights."""
    given = iter(losses)

    def validation_step(batch: list[Tensor], batch_idx: int) -> None:
        module.log("val_loss", next(given))

    module.validation_step = validation_step  # type: ignore[method-assign]
    return module


def test_a_phase_begins_in_the_middle_of_an_epoch_at_its_step(stranger: Make, fit: Fit) -> None:
    rates = Rates()
    phases = [Phase("head"), Phase("last 1 stage", start="6 steps"), Phase("all", start=2)]
    fit(stranger(), max_epochs=3, callbacks=[FreezingSchedule(phases), rates])
    last, everything = {"head", "last"}, {"head", "last", "middle", "stem"}
    assert rates.trained == [{"head"}] * 6 + [last] * 2 + [everything] * 4


def test_steps_are_steps_of_the_optimizer(stranger: Make, fit: Fit) -> None:
    rates = Rates()
    phases = [Phase("head"), Phase("all", start="3 steps")]
    fit(stranger(), max_epochs=3, accumulate_grad_batches=2, callbacks=[FreezingSchedule(phases), rates])
    assert [len(trained) for trained in rates.trained] == [1] * 3 + [4] * 3


def test_on_a_plateau_the_next_phase_begins_with_the_best_weights(stranger: Make, fit: Fit) -> None:
    weights: list[dict[str, Tensor]] = []

    class Weights(Callback):
        def on_train_batch_start(
            self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
        ) -> None:
            if batch_idx == 0:
                weights.append({name: tensor.clone() for name, tensor in pl_module.state_dict().items()})

    phases = [Phase("last 1 stage", norm="train"), Phase("all", start="plateau", patience=2)]
    rates, schedule = Rates(), FreezingSchedule(phases)
    module = validation_losses(stranger(), [3.0, 1.0, 2.0, 1.5, 0.5, 0.4, 0.3])
    fit(module, max_epochs=6, callbacks=[schedule, Weights(), rates], num_sanity_val_steps=0)
    assert [len(trained) for trained in rates.trained[::4]] == [2, 2, 2, 2, 4, 4], "best in epoch 1; 2 and 3 are worse"
    after_best, at_transition = weights[2], weights[4]
    assert all(torch.equal(after_best[name], at_transition[name]) for name in after_best)
    assert not torch.equal(weights[3]["model.last.1.running_mean"], after_best["model.last.1.running_mean"])


def test_without_a_plateau_an_epoch_is_the_latest_start(stranger: Make, fit: Fit) -> None:
    rates = Rates()
    phases = [Phase("head"), Phase("last 1 stage", start="plateau"), Phase("all", start=3)]
    module = validation_losses(stranger(), [5.0, 4.0, 3.0, 2.0, 1.0])
    fit(module, max_epochs=4, callbacks=[FreezingSchedule(phases), rates], num_sanity_val_steps=0)
    assert [len(trained) for trained in rates.trained[::4]] == [1, 1, 1, 4]


def test_a_plateau_of_a_training_loss(stranger: Make, fit: Fit) -> None:
    class Constant(Callback):
        def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            pl_module.log("train_constant", 1.0)

    rates = Rates()
    schedule = FreezingSchedule([Phase("head"), Phase("all", start="plateau", patience=1)], monitor="train_constant")
    fit(stranger(), max_epochs=3, limit_val_batches=0, callbacks=[Constant(), schedule, rates])
    assert [len(trained) for trained in rates.trained[::4]] == [1, 1, 4]


def test_a_plateau_of_what_is_not_logged_is_an_error(stranger: Make, fit: Fit) -> None:
    schedule = FreezingSchedule([Phase("head"), Phase("all", start="plateau")], monitor="val_los")
    with pytest.raises(ConfigError, match=r"FreezingSchedule watches 'val_los'.*val_loss"):
        fit(stranger(), max_epochs=2, callbacks=[schedule])


def test_layer_decay_and_warmup_multiply_with_the_factor_and_the_scheduler(stranger: Make, fit: Fit) -> None:
    phases = [Phase("head"), Phase("all", start=1, lr_scale=0.1, layer_decay=0.5, warmup=4)]
    rates = Rates()
    fit(stranger(), max_epochs=3, callbacks=[FreezingSchedule(phases), rates])
    scheduled = [0.01 * (1 + torch.cos(torch.tensor(epoch * torch.pi / 10)).item()) / 2 for epoch in range(3)]
    for step in range(12):
        factor = 0.1 * min(1.0, (step - 3) / 4) if step >= 4 else 1.0
        decayed = {"head": 1.0, "last": 0.5, "middle": 0.25, "stem": 0.125} if step >= 4 else {"head": 1.0}
        expected = {stage: scheduled[step // 4] * factor * decay for stage, decay in decayed.items()}
        assert rates.rates[step] == pytest.approx(expected), step


def test_phases_and_learning_rates_are_logged_as_they_happen(stranger: Make, fit: Fit, tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path)
    phases = [Phase("head"), Phase("last 1 stage", start="6 steps", lr_scale=0.1)]
    monitor = LearningRateMonitor("epoch")
    trainer = fit(stranger(), max_epochs=2, callbacks=[FreezingSchedule(phases), monitor], logger=logger)
    table = pd.read_csv(Path(logger.log_dir) / "metrics.csv")
    logged = table[table["phase"].notna()]
    rate = 0.01 * (1 + torch.cos(torch.tensor(torch.pi / 10)).item()) / 2
    assert list(zip(logged["phase"], logged["step"], strict=True)) == [(0.0, 0), (0.0, 4), (1.0, 6)]
    assert logged["lr/last"].isna().tolist() == [True, True, False], "what is not trained has no learning rate"
    assert logged["lr/last"].tolist()[2] == pytest.approx(rate * 0.1)
    assert logged["lr/head"].tolist() == pytest.approx([0.01, rate, rate * 0.1])
    assert trainer.callback_metrics["phase"] == 1.0
    assert "phase" in trainer.progress_bar_metrics
    assert set(monitor.lrs) == {"lr-AdamW/stem", "lr-AdamW/middle", "lr-AdamW/last", "lr-AdamW/head"}
