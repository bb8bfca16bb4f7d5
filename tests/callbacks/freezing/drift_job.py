"""Un-freezes a net over head -> last stage -> all on two processes and reports how far their weights are apart.

Arguments: the folder for the reports, then `plt_nn` or `lightning` (its BackboneFinetuning), or both in turn.
Started by test_drift.py.
"""

import json
import sys
from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import BackboneFinetuning
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from plt_nn import FreezingSchedule, Phase


class Net(LightningModule):
    """A backbone of two stages and a head, in the attributes that BackboneFinetuning expects."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU())
        self.head = nn.Linear(8, 1)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return nn.functional.mse_loss(self.head(self.backbone(batch[0])), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return torch.optim.SGD(trained, lr=0.05)


class Drift(Callback):
    """Measures the largest difference of a weight between the processes, and how far training has moved it."""

    def __init__(self, report: Path) -> None:
        self.report = report

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.before = nn.utils.parameters_to_vector(pl_module.parameters()).detach().clone()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        after = nn.utils.parameters_to_vector(pl_module.parameters()).detach()
        gathered = pl_module.all_gather(after)
        assert isinstance(gathered, Tensor)
        moved = (after - self.before).abs()
        if trainer.is_global_zero:
            facts = {
                "drift": float((gathered[0] - gathered[1]).abs().max()),
                "first layer moved": float(moved[:32].max()),
                "head moved": float(moved[-9:].max()),
            }
            self.report.write_text(json.dumps(facts))


def main(who: str, report: Path) -> None:
    seed_everything(0)
    schedule: Callback = FreezingSchedule([Phase("head"), Phase("last 1 stage", start=1), Phase("all", start=2)])
    if who == "lightning":
        schedule = BackboneFinetuning(unfreeze_backbone_at_epoch=2)
    x = torch.randn(128, 4)
    data = DataLoader(TensorDataset(x, x.square().sum(1, keepdim=True)), 16, shuffle=True)
    trainer = Trainer(
        accelerator="cpu",
        devices=2,
        strategy="ddp_find_unused_parameters_true" if who == "lightning" else "ddp",
        max_epochs=4,
        callbacks=[schedule, Drift(report)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Net(), data)


if __name__ == "__main__":
    for each in sys.argv[2:]:
        main(each, Path(sys.argv[1], f"{each}.json"))
    torch.distributed.destroy_process_group()  # left to the interpreter's end, its threads now and then abort it
