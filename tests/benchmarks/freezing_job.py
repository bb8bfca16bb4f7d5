"""Trains a tiny net over the phases of one library and reports its weights on every process.

Arguments: the library, `two` or `three` phases, the file for the report. Started on two processes by freezing.py, which
calls `train` itself for one. The net has no BatchNorm and the samples keep their order, so that one and two processes
see the same batches, and whoever follows the schedule ends with the same weights.
"""

import json
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from lightning.pytorch import Trainer, seed_everything
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset, TensorDataset

if TYPE_CHECKING:
    from tests.benchmarks.freezing_peers import Halves, Schedule, StepRates, Stretch, callbacks_of, trainer_arguments
else:  # a script finds its neighbours by their bare names
    from freezing_peers import Halves, Schedule, StepRates, Stretch, callbacks_of, trainer_arguments

BATCH, RATE = 16, 0.05  # the batch of all processes together
HEAD = Stretch("head", ("head.",))
SCHEDULES = {
    "two": Schedule((HEAD, Stretch("all", ("backbone.",), 2)), 5, RATE, 0.5),
    "three": Schedule(
        (HEAD, Stretch("last 1 stage", ("backbone.2.",), 2), Stretch("all", ("backbone.0.",), 3)), 5, RATE, 0.5
    ),
}


class Small(Halves):
    """Two stages and a head."""

    def __init__(self) -> None:
        backbone = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU())
        super().__init__(backbone, nn.Linear(8, 1), lambda parameters: torch.optim.SGD(parameters, lr=RATE))

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Every process its share of each batch; Lightning's own sampler would also shuffle."""
        x = torch.randn(8 * BATCH, 4, generator=torch.Generator().manual_seed(0))
        samples = TensorDataset(x, x.square().sum(1, keepdim=True))
        share = range(self.global_rank, len(samples), self.trainer.world_size)
        return DataLoader(Subset(samples, share), BATCH // self.trainer.world_size)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return nn.functional.mse_loss(self.head(self.backbone(batch[0])), batch[1])


def train(who: str, phases: str, devices: int, folder: Path) -> Tensor:
    """The weights at the end, `(processes, weights)`."""
    schedule, rates = SCHEDULES[phases], StepRates()
    seed_everything(0, verbose=False)
    module = Small()
    trainer = Trainer(
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        use_distributed_sampler=False,
        max_epochs=schedule.epochs,
        callbacks=[*callbacks_of(who, schedule, module, folder), rates],
        **trainer_arguments(who),
    )
    trainer.fit(module)
    rates.check(schedule, [name for name, _ in module.named_parameters()])
    weights = nn.utils.parameters_to_vector(module.parameters()).detach()
    return trainer.strategy.all_gather(weights).reshape(devices, -1)


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    report = Path(sys.argv[3])
    weights = train(sys.argv[1], sys.argv[2], 2, report.parent)
    if torch.distributed.get_rank() == 0:
        report.write_text(json.dumps(weights.tolist()))
    torch.distributed.destroy_process_group()  # left to the interpreter's end, its threads now and then abort it
