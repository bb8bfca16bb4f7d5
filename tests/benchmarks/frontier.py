"""Paying only for the layers that are trained: plt_nn with `FrozenFeatureCache`, its peers, and the floor, in turn.

Run: python tests/benchmarks/frontier.py [head phases again full growth memory] [--photos FOLDER] [--repeats 1]
     [--quick]

EfficientNet-Lite0 with ImageNet weights at 128 px on ants and bees, pixels in memory, batches of 32, AdamW, no
augmentation; the order of the samples, the start of the head, the phases and the learning rates are the same for all. A
fit is timed whole, with a validation at each epoch. The floor is what cannot be saved: in bare torch, each phase's
frozen part once over the data, then the steps and validations of the rest. That the accuracies of plt_nn, with features
kept and without, of the bare loop and of the floor are the same at every epoch is checked.

  head    the head alone for ten epochs
  phases  head; from blocks.6; from blocks.4: five epochs each
  again   the head once more at another learning rate, with the features of the run before
  full    all of the net from the start: what plt_nn adds to a bare loop
  growth  head alone at 64 px: samples and epochs times 1, 4 and 16
  memory  features four times as large as the memory that they may take
"""

import argparse
import logging
import os
import resource
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import torch
from lightning.pytorch import Trainer, seed_everything
from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from plt_nn import FreezingSchedule, FrozenFeatureCache, Phase
from plt_nn.frontier.cut import Crossing, Frontier, cut

if TYPE_CHECKING:
    from tests.benchmarks import fastai_peer
    from tests.benchmarks import freezing_peers as peers
    from tests.benchmarks.fastai_peer import FASTAI, FASTAI_NORMS
    from tests.benchmarks.freezing import BATCH, PHOTOS, RATE, Photos, read
    from tests.benchmarks.freezing_peers import FTS, LIGHTNING, Schedule, Stretch
else:  # a script finds its neighbours by their bare names
    import fastai_peer
    import freezing_peers as peers
    from fastai_peer import FASTAI, FASTAI_NORMS
    from freezing import BATCH, PHOTOS, RATE, Photos, read
    from freezing_peers import FTS, LIGHTNING, Schedule, Stretch

Data = dict[str, TensorDataset]
ENDS = ("blocks.6", "conv_head", "bn2")
HEAD = Stretch("head", ("head.",))
SIX = Stretch("last 2 stages", tuple(f"backbone.{name}." for name in ENDS), 5)
FOUR = Stretch("last 4 stages", tuple(f"backbone.{name}." for name in ("blocks.4", "blocks.5")), 10)
BARE, FLOOR = "bare loop", "floor"
PLAIN, OURS = "plt_nn without features", "plt_nn"


@dataclass(frozen=True)
class Fit:
    """How long a fit took, and the validation accuracy of each epoch."""

    seconds: float
    accuracies: list[float]


def with_plt_nn(schedule: Schedule, data: Data, folder: Path | None, memory: int = 1000) -> Fit:
    phases = [Phase(s.train, start=s.start, lr_scale=schedule.factor**n) for n, s in enumerate(schedule.stretches)]
    callbacks: list[Any] = [FreezingSchedule(phases)]
    if folder is not None:
        callbacks.append(FrozenFeatureCache(folder=str(folder), memory_megabytes=memory))
    return _with_lightning(callbacks, schedule, data, PLAIN)


def with_peer(who: str, schedule: Schedule, data: Data) -> Fit:
    with tempfile.TemporaryDirectory() as folder:
        module = _module(schedule)
        if len(schedule.stretches) == 1:  # BackboneFinetuning thaws the backbone at an epoch that never comes
            later = replace(schedule, stretches=(HEAD, Stretch("all", ("backbone.",), schedule.epochs + 1)))
            callbacks = peers.callbacks_of(who, later, module, Path(folder))
        else:
            callbacks = peers.callbacks_of(who, schedule, module, Path(folder))
        return _with_lightning(callbacks, schedule, data, who, module)


def with_fastai(schedule: Schedule, data: Data, freezes_norms: bool) -> Fit:
    module, (train, val) = _module(schedule), _loaders(data)
    began = time.perf_counter()
    reached = fastai_peer.accuracies(module, schedule, train, val, freezes_norms)
    return Fit(time.perf_counter() - began, reached)


def bare(schedule: Schedule, data: Data, keeps: bool) -> Fit:
    """A loop in bare torch; with `keeps` it computes each phase's frozen part once: the floor."""
    module, (train, val) = _module(schedule), _loaders(data)
    net, sampler = nn.Sequential(module.backbone, module.head), train.batch_sampler
    (x, y), batches = data["train"].tensors, list(val)
    began, accuracies = time.perf_counter(), []
    optimizer = torch.optim.AdamW(module.parameters(), lr=schedule.rate)
    module.eval()  # BatchNorm as it was pretrained; there is no dropout
    for number, stretch in enumerate(schedule.stretches):
        trained = tuple(name for part in schedule.stretches[: number + 1] for name in part.adds)
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(name.startswith(trained))
        optimizer.param_groups[0]["lr"] = schedule.rate_of(number)
        frozen = any(not parameter.requires_grad for parameter in module.parameters())
        forward = _kept(cut(net), x, [inputs for inputs, _ in batches]) if keeps and frozen else None
        for _ in range(schedule.ends()[number] - stretch.start):
            torch.empty((), dtype=torch.int64).random_(generator=train.generator)  # as the DataLoader does
            for rows in map(torch.tensor, sampler):  # type: ignore[arg-type]
                optimizer.zero_grad()
                output = net(x[rows]) if forward is None else forward(rows, None)
                torch.autograd.backward(nn.functional.cross_entropy(output, y[rows]))
                optimizer.step()
            with torch.no_grad():
                right = [
                    (net(inputs) if forward is None else forward(None, place)).argmax(1) == labels
                    for place, (inputs, labels) in enumerate(batches)
                ]
            accuracies.append(float(torch.cat(right).float().mean()))
    return Fit(time.perf_counter() - began, accuracies)


def _kept(frontier: Frontier, x: Tensor, val: Sequence[Tensor]) -> Callable[[Tensor | None, int | None], Tensor]:
    """The rest of the net for rows of the training samples, or for a batch of the validation samples."""
    parts = [frontier.before(part) for part in torch.split(x, BATCH)]
    train = Crossing(tuple(torch.cat(rows) for rows in zip(*(p.rows for p in parts), strict=True)), parts[0].layout)
    kept = [frontier.before(batch) for batch in val]

    def forward(rows: Tensor | None, batch: int | None) -> Tensor:
        crossing = kept[batch] if batch is not None else Crossing(tuple(r[rows] for r in train.rows), train.layout)
        output: Tensor = frontier.after(crossing)
        return output

    return forward


def _module(schedule: Schedule) -> Any:
    seed_everything(0, verbose=False)
    module = Photos()
    module.optimizer = lambda parameters: torch.optim.AdamW(parameters, lr=schedule.rate)
    return module


def _loaders(data: Data) -> tuple[DataLoader[Any], DataLoader[Any]]:
    order = torch.Generator().manual_seed(0)
    return DataLoader(data["train"], BATCH, shuffle=True, generator=order), DataLoader(data["val"], 2 * BATCH)


def _with_lightning(callbacks: list[Any], schedule: Schedule, data: Data, who: str, module: Any = None) -> Fit:
    module = module or _module(schedule)
    trainer = Trainer(max_epochs=schedule.epochs, callbacks=callbacks, **peers.trainer_arguments(who))
    train, val = _loaders(data)
    began = time.perf_counter()
    trainer.fit(module, train, val)
    return Fit(time.perf_counter() - began, module.accuracies)


def compare(
    title: str,
    contenders: dict[str, Callable[[], Fit]],
    repeats: int,
    same: Sequence[str],
    absent: Mapping[str, str] = MappingProxyType({}),
) -> Table:
    """A row for each, also for those that are absent, with the reason; the ratios are within a round."""
    fits: dict[str, list[Fit]] = {who: [] for who in contenders}
    for _ in range(repeats):
        for who, run in contenders.items():
            fits[who].append(run())
    first = fits[same[0]][0].accuracies
    for who in same:
        assert all(fit.accuracies == first for fit in fits[who]), f"{who} came to other accuracies"
    table = Table(
        "", "s a fit", f"ratio to the {FLOOR}", f"ratio to {OURS}", "accuracy: last, best", title=title, box=MARKDOWN
    )
    for who, done in fits.items():
        ratios = [_ratio(done, fits[other]) if other in fits else "" for other in (FLOOR, OURS)]
        seconds = statistics.median(fit.seconds for fit in done)
        reached = done[0].accuracies
        table.add_row(who, f"{seconds:.1f}", *ratios, f"{reached[-1]:.3f}, {max(reached):.3f}")
    for who, reason in absent.items():
        table.add_row(who, reason)
    return table


def _ratio(fits: list[Fit], others: list[Fit]) -> str:
    ratios = [one.seconds / other.seconds for one, other in zip(fits, others, strict=True)]
    spread = f" ({min(ratios):.2f}-{max(ratios):.2f})" if len(ratios) > 1 else ""
    return f"{statistics.median(ratios):.2f}{spread}"


def head(data: Data, repeats: int) -> Table:
    schedule = Schedule((HEAD,), 10, RATE, 1.0)
    contenders = {
        LIGHTNING: lambda: with_peer(LIGHTNING, schedule, data),
        PLAIN: lambda: with_plt_nn(schedule, data, None),
        OURS: lambda: _fresh(lambda folder: with_plt_nn(schedule, data, folder)),
        FLOOR: lambda: bare(schedule, data, keeps=True),
    }
    return compare("The head alone, 10 epochs", contenders, repeats, [PLAIN, OURS, FLOOR])


def phases(data: Data, repeats: int) -> Table:
    schedule = Schedule((HEAD, SIX, FOUR), 15, RATE, 1 / 10)
    contenders: dict[str, Callable[[], Fit]] = {
        FASTAI: lambda: with_fastai(schedule, data, freezes_norms=False),
        FASTAI_NORMS: lambda: with_fastai(schedule, data, freezes_norms=True),
        FTS: lambda: with_peer(FTS, schedule, data),
        BARE: lambda: bare(schedule, data, keeps=False),
        PLAIN: lambda: with_plt_nn(schedule, data, None),
        OURS: lambda: _fresh(lambda folder: with_plt_nn(schedule, data, folder)),
        FLOOR: lambda: bare(schedule, data, keeps=True),
    }
    title = "Head, from blocks.6, from blocks.4: 5 epochs each"
    reasons = {who: fastai_peer.missing() for who in (FASTAI, FASTAI_NORMS)} | {FTS: peers.missing(FTS, schedule)}
    absent = {who: reason for who, reason in reasons.items() if reason}
    present = {who: run for who, run in contenders.items() if who not in absent}
    return compare(title, present, repeats, [BARE, PLAIN, OURS, FLOOR], absent)


def again(data: Data, repeats: int) -> Table:
    table = Table("The head alone, 10 epochs", "s a fit", "samples through the frozen part", box=MARKDOWN)
    with tempfile.TemporaryDirectory() as folder:
        for name, rate in (("first run", RATE), ("second run, another learning rate", RATE / 3)):
            with patch.object(Frontier, "before", autospec=True, side_effect=Frontier.before) as before:
                done = with_plt_nn(Schedule((HEAD,), 10, rate, 1.0), data, Path(folder))
            count = sum(len(call.args[1]) for call in before.call_args_list)
            table.add_row(name, f"{done.seconds:.1f}", str(count))
    return table


def full(data: Data, repeats: int) -> Table:
    schedule = Schedule((Stretch("all", ("head.", "backbone.")),), 2, RATE / 30, 1.0)
    contenders = {
        OURS: lambda: _fresh(lambda folder: with_plt_nn(schedule, data, folder)),
        FLOOR: lambda: bare(schedule, data, keeps=False),
    }
    title = f"All of the net, 2 epochs (the {FLOOR} is the bare loop)"
    return compare(title, contenders, max(3, repeats), [OURS, FLOOR])


def growth(data: Data, repeats: int) -> Table:
    small = {
        split: TensorDataset(nn.functional.avg_pool2d(samples.tensors[0], 2), samples.tensors[1])
        for split, samples in data.items()
    }
    table = Table("samples", "epochs", "plt_nn, s", "floor, s", "ratio", title="The head alone at 64 px", box=MARKDOWN)
    for many in (1, 4, 16):
        more = {
            split: TensorDataset(*(tensor.repeat(many, *[1] * (tensor.ndim - 1)) for tensor in part.tensors))
            for split, part in small.items()
        }
        for epochs in (1, 4, 16):
            schedule = Schedule((HEAD,), epochs, RATE, 1.0)
            ours = _fresh(partial(with_plt_nn, schedule, more))
            floor = bare(schedule, more, keeps=True)
            assert ours.accuracies == floor.accuracies
            ratio = f"{ours.seconds / floor.seconds:.2f}"
            table.add_row(str(len(more["train"])), str(epochs), f"{ours.seconds:.1f}", f"{floor.seconds:.1f}", ratio)
    return table


def memory(data: Data, repeats: int) -> Table:
    """Features behind the first block, 100 KB a sample: 25 MB of training samples with 6 MB of memory."""
    stretches = (Stretch("last 8 stages", ("head.", *(f"backbone.{name}." for name in _AFTER_STEM))),)
    table = Table("memory allowed", "s a fit", "peak of the process, MB", "accuracy, last", box=MARKDOWN)
    reached = []
    for allowed in (6, 1000):
        done = _fresh(partial(with_plt_nn, Schedule(stretches, 3, RATE / 30, 1.0), data, memory=allowed))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        reached.append(done.accuracies)
        table.add_row(f"{allowed} MB", f"{done.seconds:.1f}", f"{peak:.0f}", f"{done.accuracies[-1]:.3f}")
    assert reached[0] == reached[1]
    return table


_AFTER_STEM = (*(f"blocks.{number}" for number in range(7)), "conv_head", "bn2")
PARTS = {"head": head, "phases": phases, "again": again, "full": full, "growth": growth, "memory": memory}


def _fresh(run: Callable[[Path], Fit]) -> Fit:
    with tempfile.TemporaryDirectory() as folder:
        return run(Path(folder))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="default: all")
    parser.add_argument("--photos", type=Path, default=Path(os.environ.get("PLT_NN_PHOTOS", PHOTOS)))
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="few photographs: whether it runs, and no figures")
    arguments = parser.parse_args()
    for logger in ("lightning.pytorch", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    console, data = Console(width=140), read(arguments.photos)
    few = {split: TensorDataset(*samples[:BATCH]) for split, samples in data.items()}
    bare(Schedule((HEAD,), 1, RATE, 1.0), few, keeps=False)  # warm-up
    for part in arguments.parts or PARTS:
        console.print(PARTS[part](few if arguments.quick else data, arguments.repeats))


if __name__ == "__main__":
    main()
