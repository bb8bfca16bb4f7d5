"""Loaders of every kind: with `FrozenFeatureCache` a fit is the fit without it, or a line says why it does nothing."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import (
    DataLoader,
    Dataset,
    RandomSampler,
    Sampler,
    SubsetRandomSampler,
    default_collate,
    get_worker_info,
)

from plt_nn import FrozenFeatureCache
from plt_nn.features.plain_loader import target_cache
from tests.callbacks.feature_cache.cached_fits import Pictures, cache
from tests.callbacks.feature_cache.small_samples import CACHED, SIZE, Avoiding, Corrupt, Samples, X, Y, run, tensors

pytestmark = pytest.mark.usefixtures("caching_pays")


class Uncounted(Dataset[Any]):
    """Nobody knows how many there are."""

    def __getitem__(self, number: int) -> Any:
        return X[number], Y[number]


class Named(Samples):
    """Samples by name."""

    def __getitem__(self, name: str) -> Any:
        return super().__getitem__(int(name[1:]))


class Sized(Samples):
    """Samples by number and size."""

    def __getitem__(self, key: tuple[int, int]) -> Any:
        return super().__getitem__(key[0])


class OfFiles(Samples):
    """Samples and their files' names."""

    def __getitem__(self, number: int) -> Any:
        return *super().__getitem__(number), f"{number}.jpg"


class OpenedByWorkers(Samples):
    """A worker opens its file as it starts."""

    file: Any = None

    def __getitem__(self, number: int) -> Any:
        return self.file[0][number], self.file[1][number]


def open_file(worker: int) -> None:
    info: Any = get_worker_info()
    info.dataset.file = (X, Y)


class Standardized(DataLoader[Any]):
    """Does something more with its batches."""

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # torch names its private iterator class
        for x, y in super().__iter__():
            yield (x - 3) / 2, y


class Endless(Sampler[Any]):
    """Never ends."""

    def __iter__(self) -> Iterator[int]:
        while True:
            yield from range(SIZE)


class EndlessOfLength(Endless):
    """Never ends either."""

    def __len__(self) -> int:
        return SIZE


def of_whole_batches(samples: list[Any]) -> Any:
    x, y = default_collate(samples)
    return x.view(4, -1, 1, 6, 6).flatten(0, 1), y


def ranked(samples: list[Any]) -> Any:
    """The targets depend on what else is in the batch."""
    x, _ = default_collate(samples)
    return x, x.sum((1, 2, 3)).argsort().argsort() % 3


def less_their_mean(samples: list[Any]) -> Any:
    x, y = default_collate(samples)
    return x - x.mean(0), y


LOADERS: dict[str, tuple[Callable[[], DataLoader[Any]], str]] = {
    "a corrupt sample is avoided": (
        lambda: DataLoader(Corrupt(), 8, sampler=SubsetRandomSampler(range(1, SIZE))),
        CACHED,
    ),
    "a corrupt sample is not named": (
        lambda: DataLoader(Corrupt(), 8, num_workers=1, batch_sampler=None, sampler=Avoiding()),
        "not cached: they cannot be read one by one (OSError: sample 0 is corrupt)",
    ),
    "no length": (
        lambda: DataLoader(Uncounted(), 8, sampler=SubsetRandomSampler(range(SIZE))),
        "not cached: their number is unknown",
    ),
    "names": (lambda: DataLoader(Named(), 8, sampler=[f"s{number}" for number in range(SIZE)]), "give"),
    "keys of two parts": (lambda: DataLoader(Sized(), 8, sampler=[(number, 6) for number in range(SIZE)]), "give"),
    "names of files": (lambda: DataLoader(OfFiles(), 8), CACHED),
    "numbers of numpy": (lambda: DataLoader(Samples(), 8, sampler=list(np.arange(SIZE))), CACHED),
    "a subset by numpy": (lambda: DataLoader(Samples(), 8, sampler=SubsetRandomSampler(list(np.arange(SIZE)))), CACHED),
    "inputs of the batch": (
        lambda: DataLoader(tensors(), 8, collate_fn=less_their_mean),
        "not cached: their inputs depend on the batch that they are in",
    ),
    "whole batches": (
        lambda: DataLoader(Samples(), 8, collate_fn=of_whole_batches),
        "not cached: they cannot be read one by one (RuntimeError: shape",
    ),
    "opened by workers": (lambda: DataLoader(OpenedByWorkers(), 8, num_workers=1, worker_init_fn=open_file), CACHED),
    "batches of its own": (
        lambda: Standardized(tensors(), 8),
        "not cached: a Standardized makes its batches in a way of its own",
    ),
    "endless": (lambda: DataLoader(tensors(), 8, sampler=Endless()), "not cached: their number is unknown"),
    "endless of a length": (lambda: DataLoader(tensors(), 8, sampler=EndlessOfLength()), CACHED),
    "endless for workers": (lambda: DataLoader(tensors(), 8, sampler=EndlessOfLength(), num_workers=1), CACHED),
    "targets of the batch": (lambda: DataLoader(tensors(), 8, shuffle=True, collate_fn=ranked), CACHED),
    "a generator of its own": (
        lambda: DataLoader(tensors(), 8, shuffle=True, generator=torch.Generator().manual_seed(5)),
        CACHED,
    ),
    "with replacement": (
        lambda: DataLoader(
            tensors(), 8, sampler=RandomSampler(range(SIZE), True, 64, torch.Generator().manual_seed(5))
        ),
        CACHED,
    ),
}


@pytest.mark.parametrize("name", LOADERS)
def test_whatever_the_loader_does_the_fit_is_the_same(name: str, tmp_path: Path, info: list[str]) -> None:
    make, line = LOADERS[name]
    plain = run(None, make(), limit_train_batches=5)
    assert run(cache(tmp_path), make(), limit_train_batches=5) == plain
    assert any(line in told for told in info), info


def test_inputs_that_are_the_targets_too(tmp_path: Path, info: list[str]) -> None:
    class Twice(Pictures):
        def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
            found: Tensor = self.head(self.backbone(batch[0]))
            return (found.mean(1) - batch[1].mean((1, 2, 3))).square().mean()

    def same(samples: list[Any]) -> Any:
        x = torch.stack([x for x, _ in samples])
        return x, x

    train = DataLoader(tensors(), 8, shuffle=True, collate_fn=same)
    assert run(cache(tmp_path), train, Twice()) == run(None, train, Twice())
    assert any(CACHED in line for line in info)


def test_large_targets_are_read_each_time(tmp_path: Path, info: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target_cache, "MOST", 8 * SIZE - 1)
    reads: list[int] = []

    class Counted(Samples):
        def __getitem__(self, number: int) -> Any:
            reads.append(number)
            return super().__getitem__(number)

    plain = run(None, DataLoader(tensors(), 8, shuffle=True))
    assert run(cache(tmp_path), DataLoader(Counted(), 8, shuffle=True)) == plain
    assert len(reads) >= 3 * SIZE
    assert any(CACHED in line for line in info)


def test_a_file_that_is_opened_late_is_not_opened_for_the_workers(tmp_path: Path) -> None:
    path = tmp_path / "samples"
    path.write_bytes(X.numpy().tobytes())

    class Lazy(Samples):
        file: Any = None

        def __getitem__(self, number: int) -> Any:
            if self.file is None:
                self.file = path.open("rb", buffering=0)
            self.file.seek(number * 144)
            return torch.frombuffer(bytearray(self.file.read(144)), dtype=torch.float32).view(1, 6, 6), Y[number]

    class Looks(Pictures):
        """Looks at the inputs, which are then read again."""

        def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
            return super().training_step(batch, batch_idx) + batch[0].mean()

    data = Lazy()
    train = DataLoader(data, 8, num_workers=2)
    assert run(cache(tmp_path), train, Looks()) == run(None, train, Looks())
    assert data.file is None


def test_a_sampler_that_learns_within_the_epoch(tmp_path: Path, info: list[str]) -> None:
    class Hardest(Sampler[int]):
        def __init__(self) -> None:
            self.weights = torch.ones(SIZE)

        def __len__(self) -> int:
            return SIZE

        def __iter__(self) -> Iterator[int]:
            for _ in range(SIZE):
                yield int(self.weights.argmax())

    class Learns(Pictures):
        def __init__(self, sampler: Hardest) -> None:
            super().__init__()
            self.sampler = sampler

        def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
            self.sampler.weights[(batch[0] == X).all((1, 2, 3)).nonzero()] -= 1 + 0.1 * batch_idx
            return super().training_step(batch, batch_idx)

    def trained(features: FrozenFeatureCache | None) -> Any:
        sampler = Hardest()
        return run(features, DataLoader(tensors(), 1, sampler=sampler), Learns(sampler))

    assert trained(cache(tmp_path)) == trained(None)
