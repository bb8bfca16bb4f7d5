"""Freezing schedules on ants and bees: Lightning's BackboneFinetuning, finetuning-scheduler and plt_nn in turn.

Run: python tests/benchmarks/freezing.py [--seeds 5] [--epochs 3 2 2] [--photos FOLDER] [--quick]

Prints the validation accuracy of the last and of the best epoch, the time of the fit, and how far apart the weights of
two processes are after the same phases. The net (EfficientNet-Lite0 with ImageNet weights), pixels, flips, order of the
batches, start of the head, optimizer (AdamW), phases and learning rates are the same for all. What each optimizer step
trains, and at which rate, is checked against the schedule; so is that all end with the same weights where there is no
BatchNorm. What is left is the BatchNorm: the peers leave it in training mode in every phase and have no option against
it; plt_nn by default keeps its statistics. freezing_peers.py says how each library is told the same.
"""

import argparse
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torchvision.datasets import ImageFolder

from plt_nn import create_backbone
from plt_nn.backbones import backbone_info

if TYPE_CHECKING:
    from tests.benchmarks import freezing_job as job
    from tests.benchmarks import freezing_peers as peers
    from tests.benchmarks.freezing_peers import OURS, PEERS, Schedule, Stretch
else:  # a script finds its neighbours by their bare names
    import freezing_job as job
    import freezing_peers as peers
    from freezing_peers import OURS, PEERS, Schedule, Stretch

NET, WEIGHTS = "timm/tf_efficientnet_lite0", "package:efficientnet-lite0"
SIZE, CROP, BATCH = 128, 0.7, 32
RATE = 3e-3  # of the head; then 1e-4 for the whole net, or 3e-4 for its end and 3e-5 for the whole
LAST = tuple(f"backbone.{name}." for name in ("blocks.5", "blocks.6", "conv_head", "bn2"))
FIRST = tuple(f"backbone.{name}." for name in ("conv_stem", "bn1", *(f"blocks.{number}" for number in range(5))))
PHOTOS = Path(__file__).parents[3] / "shared" / "data" / "ants_bees"


@dataclass(frozen=True)
class Outcome:
    """What one fit came to: the validation accuracy of each epoch, and whether the frozen part's statistics moved."""

    accuracies: list[float]
    seconds: float
    moved: bool


def schedules(head: int, last: int, rest: int) -> dict[str, Schedule]:
    """Two phases that all can be told, and three, of as many epochs."""
    start, epochs = Stretch("head", ("head.",)), head + last + rest
    two = (start, Stretch("all", LAST + FIRST, head))
    three = (start, Stretch("last 3 stages", LAST, head), Stretch("all", FIRST, head + last))
    return {
        f"head {head} epochs, all {last + rest}": Schedule(two, epochs, RATE, 1 / 30),
        f"head {head} epochs, last 3 stages {last}, all {rest}": Schedule(three, epochs, RATE, 1 / 10),
    }


class Photos(peers.Halves):
    """Classifies photographs; keeps the validation accuracy of each epoch."""

    def __init__(self) -> None:
        backbone: Any = create_backbone(NET, pretrained=WEIGHTS)
        backbone.reset_classifier(0)  # timm's: the pooled features come out
        super().__init__(backbone, nn.Linear(backbone.num_features, 2), lambda p: torch.optim.AdamW(p, lr=RATE))
        self.accuracies: list[float] = []
        self._right: list[Tensor] = []

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self.head(self.backbone(batch[0])), batch[1])

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self._right.append(self.head(self.backbone(batch[0])).argmax(1) == batch[1])

    def on_validation_epoch_end(self) -> None:
        self.accuracies.append(float(torch.cat(self._right).float().mean()))
        self._right.clear()


class FrozenStatistics(Callback):
    """Whether any running statistic of the backbone's BatchNorm moves while only the head is trained."""

    def __init__(self, until: int) -> None:
        self.until, self.moved = until, False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._before = {name: buffer.clone() for name, buffer in pl_module.named_buffers() if "running" in name}
        assert self._before

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch == self.until - 1:
            now = dict(pl_module.named_buffers())
            self.moved = any(not torch.equal(now[name], buffer) for name, buffer in self._before.items())


def read(photos: Path) -> dict[str, TensorDataset]:
    """The pixels of `train` and `val`, in memory, as the net's weights expect them."""
    info = backbone_info(create_backbone(NET, pretrained=False))
    assert info is not None
    transform = replace(info.preprocessing.with_size(SIZE), crop_pct=CROP).evaluation_transform()
    folders = {split: ImageFolder(photos / split, transform) for split in ("train", "val")}
    return {
        split: TensorDataset(torch.stack([image for image, _ in folder]), torch.tensor(folder.targets))
        for split, folder in folders.items()
    }


def loaders(data: dict[str, TensorDataset], seed: int) -> tuple[DataLoader[tuple[Tensor, ...]], ...]:
    """Shuffled and flipped training batches that depend on the seed alone, and the validation batches."""
    generator = torch.Generator().manual_seed(seed)

    def flipped(samples: list[tuple[Tensor, Tensor]]) -> list[Tensor]:
        x, y = (torch.stack(parts) for parts in zip(*samples, strict=True))
        flip = torch.rand(len(x), generator=generator) < 0.5
        return [torch.where(flip[:, None, None, None], x.flip(-1), x), y]

    order = torch.Generator().manual_seed(seed)
    train = DataLoader(data["train"], BATCH, shuffle=True, generator=order, collate_fn=flipped)
    return train, DataLoader(data["val"], 2 * BATCH)


def fit(who: str, schedule: Schedule, data: dict[str, TensorDataset], seed: int) -> Outcome:
    """Trains by the schedule, and checks that it was followed."""
    seed_everything(seed, verbose=False)
    module, rates, statistic = Photos(), peers.StepRates(), FrozenStatistics(schedule.ends()[0])
    train, val = loaders(data, seed)
    with tempfile.TemporaryDirectory() as folder:
        callbacks = [*peers.callbacks_of(who, schedule, module, Path(folder)), rates, statistic]
        trainer = Trainer(max_epochs=schedule.epochs, callbacks=callbacks, **peers.trainer_arguments(who))
        began = time.perf_counter()
        trainer.fit(module, train, val)
        seconds = time.perf_counter() - began
    rates.check(schedule, [name for name, _ in module.named_parameters()])
    assert len(module.accuracies) == schedule.epochs
    return Outcome(module.accuracies, seconds, statistic.moved)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, nargs=3, default=(3, 2, 2), metavar=("HEAD", "LAST", "ALL"))
    parser.add_argument("--photos", type=Path, default=Path(os.environ.get("PLT_NN_PHOTOS", PHOTOS)))
    parser.add_argument("--quick", action="store_true", help="one seed and one epoch a phase")
    arguments = parser.parse_args()
    seeds, epochs = (1, (1, 1, 1)) if arguments.quick else (arguments.seeds, arguments.epochs)
    for logger in ("lightning.pytorch", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    console, data = Console(width=140), read(arguments.photos)
    few = {split: TensorDataset(*samples[:BATCH]) for split, samples in data.items()}
    for name, schedule in schedules(*epochs).items():
        absent = {who: reason for who in PEERS if (reason := peers.missing(who, schedule))}
        outcomes: dict[str, list[Outcome]] = {who: [] for who in PEERS if who not in absent}
        for who in outcomes:
            fit(who, schedule, few, 0)  # warm-up
        for seed in range(seeds):
            for who, reached in outcomes.items():
                reached.append(fit(who, schedule, data, seed))
        console.print(accuracy_table(f"{name}; {seeds} seeds", outcomes, absent))
    console.print(drift_table())


def accuracy_table(title: str, outcomes: dict[str, list[Outcome]], absent: dict[str, str]) -> Table:
    """A row a library: accuracies over the seeds, time, and what became of the frozen BatchNorm."""
    table = Table(title=title)
    for column in ("val accuracy:", "last epoch", "best epoch", "last of each seed", "s a fit", "ratio to plt_nn"):
        table.add_column(column)
    table.add_column("frozen BatchNorm")
    for who in PEERS:
        if who in absent:
            table.add_row(who, absent[who])
            continue
        reached = outcomes[who]
        ratios = [mine.seconds / ours.seconds for mine, ours in zip(reached, outcomes[OURS], strict=True)]
        table.add_row(
            who,
            _spread([outcome.accuracies[-1] for outcome in reached]),
            _spread([max(outcome.accuracies) for outcome in reached]),
            " ".join(f"{outcome.accuracies[-1]:.3f}" for outcome in reached),
            f"{statistics.median(outcome.seconds for outcome in reached):.1f}",
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})",
            "moves" if any(outcome.moved for outcome in reached) else "stays",
        )
    return table


def drift_table() -> Table:
    """A row a library and number of phases: how far apart the weights of two processes are, and from one process."""
    table = Table(title="A tiny net without BatchNorm: largest difference of a weight")
    columns = ("", "phases", "one process: from plt_nn", "two processes: between them", "from one process")
    for column in columns:
        table.add_column(column)
    for phases, schedule in job.SCHEDULES.items():
        with tempfile.TemporaryDirectory() as folder:
            ours = job.train(OURS, phases, 1, Path(folder))
            for who in PEERS:
                if reason := peers.missing(who, schedule):
                    table.add_row(who, phases, reason)
                    continue
                one, two = job.train(who, phases, 1, Path(folder)), _two_processes(who, phases, Path(folder))
                assert float((one - ours).abs().max()) < 1e-6, f"{who} was told another schedule"
                differences = (one - ours, two[0] - two[1], two - one)
                table.add_row(who, phases, *(f"{float(difference.abs().max()):.0e}" for difference in differences))
    return table


def _two_processes(who: str, phases: str, folder: Path) -> Tensor:
    report = folder / f"{who}.json"
    environment = {name: value for name, value in os.environ.items() if name != "PL_GLOBAL_SEED"}
    subprocess.run(
        [sys.executable, job.__file__, who, phases, str(report)],
        env=environment | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        timeout=240,
        check=True,
    )
    return torch.tensor(json.loads(report.read_text()))


def _spread(values: list[float]) -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.3f} ± {deviation:.3f}"


if __name__ == "__main__":
    main()
