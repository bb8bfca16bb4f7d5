"""A schedule under 16-bit with a gradient scaler, and with two optimizers in manual optimization."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor, nn

from plt_nn import FreezingSchedule, Phase

Make = Callable[[], LightningModule]
Fit = Callable[..., Trainer]
PHASES = [Phase("head"), Phase("last 1 stage", start="6 steps", lr_scale=0.5), Phase("all", start=2)]


def moved(before: dict[str, Tensor], module: LightningModule) -> set[str]:
    return {name for name, tensor in module.state_dict().items() if not torch.equal(before[name], tensor)}


@pytest.mark.parametrize("epochs", [1, 3])
def test_sixteen_bit_with_a_gradient_scaler(stranger: Make, fit: Fit, epochs: int) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)  # too large at first: steps are skipped until it fits
    module = stranger()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    precision = MixedPrecision("16-mixed", "cpu", scaler=scaler)
    trainer = fit(module, max_epochs=epochs * 8, callbacks=[FreezingSchedule(PHASES[:epochs])], plugins=[precision])
    changed = {name.split(".")[1] for name in moved(before, module)}
    assert changed == ({"head"} if epochs == 1 else {"head", "last", "middle", "stem"})
    assert scaler.get_scale() < 2.0**40
    assert all(tensor.isfinite().all() for tensor in module.state_dict().values())
    assert all("scheduled_lr" not in group for group in trainer.optimizers[0].param_groups)


def test_two_optimizers_in_manual_optimization(fit: Fit) -> None:
    class TwoSteps(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.automatic_optimization = False
            self.body = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU())
            self.head = nn.Linear(8, 1)

        def training_step(self, batch: list[Tensor], batch_idx: int) -> None:
            optimizers: Any = self.optimizers()
            loss = nn.functional.mse_loss(self.head(self.body(batch[0])), batch[1])
            for optimizer in optimizers:
                optimizer.zero_grad()
            self.manual_backward(loss)
            for optimizer in optimizers:
                optimizer.step()

        def configure_optimizers(self) -> Any:
            return [torch.optim.SGD(self.body.parameters(), 0.05), torch.optim.AdamW(self.head.parameters(), 0.01)]

    module = TwoSteps()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    head_only = FreezingSchedule([Phase("head"), Phase(["body.2"], start=3)])
    fit(module, max_epochs=2, callbacks=[head_only])
    assert moved(before, module) == {"head.weight", "head.bias"}
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    fit(module, max_epochs=1, callbacks=[FreezingSchedule([Phase(["body.2"])])])
    assert moved(before, module) == {"body.2.weight", "body.2.bias"}
