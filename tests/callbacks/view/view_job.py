"""A fit whose training view is looked at from outside, on a terminal of its own.

Arguments: what happens in it: `boom` (an error in epoch 1), `endless` (it goes on until it is stopped), `workers` (its
loader has two), `ddp` (two processes), or nothing.
"""

import logging
import sys
import time
import warnings

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from plt_nn.callbacks import TrainingView

HAPPENING = set(sys.argv[1:])
FOUND = sys.stderr  # what a library's handler has found when it was imported


class Talkative(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = torch.nn.Linear(4, 1)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        time.sleep(0.004)
        if batch_idx == 20 and self.current_epoch == 1:
            print("printed", "in two words")
            self.print("printed by the module")
            warnings.warn("warned", stacklevel=1)
            logging.getLogger("lightning.pytorch").warning("logged by Lightning's handler")
            FOUND.write("written to the stream that was found\n")
            if "boom" in HAPPENING:
                raise RuntimeError("an error in the middle of training")
        loss: Tensor = self.net(batch[0]).pow(2).mean()
        self.log("train_loss", loss, prog_bar=True, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("val_loss", self.net(batch[0]).pow(2).mean(), prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.01)


def main() -> None:
    torch.manual_seed(0)
    loader = DataLoader(TensorDataset(torch.randn(200, 4)), 4, num_workers=2 if "workers" in HAPPENING else 0)
    strategy = "ddp" if "ddp" in HAPPENING else "auto"
    trainer = Trainer(
        accelerator="cpu",
        devices=1 if strategy == "auto" else 2,
        strategy=strategy,
        max_epochs=-1 if "endless" in HAPPENING else 3,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        callbacks=[TrainingView()],
    )
    trainer.fit(Talkative(), loader, loader)
    print("the end")


if __name__ == "__main__":
    main()
