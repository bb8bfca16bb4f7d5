"""A plain module with a plain loader on two processes, whole and resumed at an epoch's end.

Argument: the folder for the checkpoint and the facts. Started by test_step_seeds.py.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from plt_nn.callbacks.resume.step_seeds import StepSeeds


class Stranger(LightningModule):
    """Learns with dropout; keeps the samples it is given and a number that it draws in each step."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(1, 16), nn.Dropout(0.5), nn.Linear(16, 1))
        for number, parameter in enumerate(self.parameters()):
            nn.init.normal_(parameter, generator=torch.Generator().manual_seed(number))
        self.seen: list[dict[str, Any]] = []

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        loss: Tensor = self.net(batch[0] / 24).square().mean()
        self.seen.append({"read": batch[0].flatten().tolist(), "drawn": torch.rand(()).item()})
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.01)

    def weights(self) -> list[float]:
        return torch.cat([parameter.detach().flatten() for parameter in self.parameters()]).tolist()


def fit(folder: Path, ckpt: Path | None = None) -> tuple[Stranger, StepSeeds, int]:
    module, seeds = Stranger(), StepSeeds()
    keep = ModelCheckpoint(folder, "end{step}", save_top_k=-1, auto_insert_metric_name=False)
    trainer = Trainer(
        accelerator="cpu",
        devices=2,
        strategy="ddp",
        max_epochs=2,
        callbacks=[seeds, keep],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    samples = TensorDataset(torch.arange(24.0).unsqueeze(1))
    trainer.fit(module, DataLoader(samples, 4, shuffle=True, num_workers=1), ckpt_path=ckpt, weights_only=True)
    return module, seeds, trainer.global_rank


if __name__ == "__main__":
    directory = Path(sys.argv[1])
    whole, whole_seeds, rank = fit(directory / "whole")
    resumed, resumed_seeds, _ = fit(directory / "resumed", directory / "whole" / "end3.ckpt")
    facts = {
        "whole": whole.seen,
        "weights": whole.weights(),
        "seed": whole_seeds.seed,
        "resumed": resumed.seen,
        "resumed weights": resumed.weights(),
        "resumed seed": resumed_seeds.seed,
    }
    (directory / f"rank{rank}.json").write_text(json.dumps(facts))
    torch.distributed.destroy_process_group()  # left to the interpreter's end, its threads now and then abort it
