"""Which loaders can be a source, what of their batches is taken for the inputs, and what tells them from others."""

import os
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset, default_collate

from plt_nn.features.inputs import inputs_of, with_inputs
from plt_nn.features.plain_loader import sample_guard
from plt_nn.features.plain_loader.data_loader import data_loader_source, why_no_source
from plt_nn.features.plain_loader.reader import read_apart
from plt_nn.features.source import Source

X = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))
DATA = TensorDataset(X, torch.arange(10))


class Endless(IterableDataset[Any]):
    """Samples without numbers."""

    def __iter__(self) -> Any:
        return iter(range(3))


def test_loaders_of_numbered_samples_in_batches_can_be_sources() -> None:
    assert why_no_source(DataLoader(DATA, batch_size=2)) is None
    assert why_no_source(DataLoader(DATA, batch_size=None))
    assert why_no_source(DataLoader(Endless(), batch_size=2))
    assert why_no_source([1, 2])


BATCHES: dict[str, tuple[Any, bool]] = {
    "tuple": ((X, torch.arange(10)), True),
    "list": ([X], True),
    "dict": ({"label": torch.arange(10), "pixel_values": X}, True),
    "tensor": (X, True),
    "dict without inputs": ({"label": X}, False),
    "nested": (([X], torch.arange(10)), False),
    "empty": ((), False),
    "one number": (torch.tensor(3), False),
    "text": ("text", False),
}


@pytest.mark.parametrize("name", BATCHES)
def test_inputs_are_found_and_replaced(name: str) -> None:
    batch, is_found = BATCHES[name]
    found = inputs_of(batch)
    assert (found is X) is is_found
    if is_found:
        other = torch.zeros(10, 3)
        replaced = with_inputs(batch, other)
        assert inputs_of(replaced) is other
        assert type(replaced) is type(batch) or isinstance(batch, Tensor)


def test_what_was_read_is_known() -> None:
    source = data_loader_source(DataLoader(DATA, batch_size=4))
    rows = torch.tensor([5, 2])
    assert not source.knows(rows)
    (batch,) = source.read([rows])
    assert torch.equal(batch[0], X[rows])
    assert source.knows(rows)
    assert not source.knows(torch.tensor([5, 3]))
    marker = torch.zeros(1, 3)
    x, y = source.batch(torch.tensor([2]), marker)
    assert x is marker
    assert y.tolist() == [2]
    assert torch.equal(source.read_inputs(rows), X[rows])


def test_reading_nothing_starts_no_workers() -> None:
    assert list(data_loader_source(DataLoader(DATA, batch_size=4, num_workers=2)).read([])) == []


def test_loaders_with_ways_of_their_own_cannot_be_sources() -> None:
    class Iterates(DataLoader[Any]):
        def __iter__(self) -> Any:
            return super().__iter__()

    class Resumes(DataLoader[Any]):
        def state_dict(self) -> dict[str, Any]:
            return {}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            pass

    class Plain(DataLoader[Any]):
        pass

    assert why_no_source(Plain(DATA, batch_size=2)) is None
    assert why_no_source(Iterates(DATA, batch_size=2)) == "a Iterates makes its batches in a way of its own"
    assert why_no_source(Resumes(DATA, batch_size=2)) == "a Resumes resumes an epoch in a way of its own"
    assert why_no_source(DataLoader(TensorDataset(X[:0]), batch_size=2)) == "there are none"


def test_inputs_are_read_by_a_worker_where_workers_read() -> None:
    class Told(Dataset[Any]):
        def __len__(self) -> int:
            return 10

        def __getitem__(self, number: int) -> Any:
            return X[number], os.getpid()

    for workers in (0, 1):
        source = data_loader_source(DataLoader(Told(), batch_size=2, num_workers=workers))
        assert torch.equal(source.read_inputs(torch.tensor([7, 2])), X[[7, 2]])
        processes = {int(pid) for _, pids in source.read([torch.tensor([7]), torch.tensor([2])]) for pid in pids}
        assert (os.getpid() in processes) is (workers == 0)


class Padded(Dataset[Any]):
    """Samples of unequal length."""

    def __len__(self) -> int:
        return 10

    def __getitem__(self, number: int) -> Tensor:
        return torch.ones(number + 1)


def mixed(samples: list[Any]) -> Any:
    x, y = default_collate(samples)
    return x.lerp(x.flip(0), torch.rand(())), y


def with_neighbours(samples: list[Any]) -> Any:
    x, y = default_collate(samples)
    return x + x.flip(0), y


def padded(samples: list[Tensor]) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(samples, batch_first=True)


def test_samples_that_are_made_at_random_or_of_their_batch_are_told() -> None:
    def is_random(dataset: Any, **options: Any) -> bool:
        return bool(data_loader_source(DataLoader(dataset, batch_size=4, **options)).why_random())

    assert not is_random(DATA)
    assert is_random(DATA, collate_fn=mixed)
    assert is_random(DATA, collate_fn=with_neighbours)
    assert is_random(Padded(), collate_fn=padded)


def apart(samples: list[Any]) -> Any:
    return tuple(zip(*samples, strict=True))


def test_why_samples_are_not_always_the_same_is_told() -> None:
    def why(dataset: Any, **options: Any) -> str:
        return data_loader_source(DataLoader(dataset, batch_size=4, **options)).why_random()

    assert why(DATA) == ""
    assert why(DATA, collate_fn=mixed) == "they are read at random"
    assert why(DATA, collate_fn=with_neighbours) == "their inputs depend on the batch that they are in"
    assert why(DATA, collate_fn=apart) == "their inputs are not one tensor with a row for each sample"


class Looks:
    """Counts how often samples are read to see whether they are what they were."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        monkeypatch.setattr(sample_guard, "read_apart", self._read)

    def _read(self, *arguments: Any) -> Any:
        self.count += 1
        return read_apart(*arguments)


class Scaled(Dataset[Any]):
    """Nothing tells its samples."""

    file: Any

    def __init__(self) -> None:
        self.file, self.scale = None, [1.0]

    def __len__(self) -> int:
        return 10

    def __getitem__(self, number: int) -> Any:
        return X[number] * (1.0 if self.file is None else self.file.scale), number


class File:
    """An open one."""

    def __init__(self, scale: float) -> None:
        self.scale = scale


def read_source(dataset: Any, workers: int = 0) -> Source:
    """A source in the second epoch."""
    source = data_loader_source(DataLoader(dataset, batch_size=5, num_workers=workers))
    assert not source.why_random()
    assert (source.identity() is None) is isinstance(dataset, Scaled)
    source.look(True)
    for _ in source.read([torch.arange(5), torch.arange(5, 10)]):
        pass
    return source


@pytest.mark.parametrize("workers", [0, 1])
def test_samples_are_read_again_only_where_it_costs_little(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    looks, source = Looks(monkeypatch), read_source(Scaled(), workers)
    monkeypatch.setattr(sample_guard, "AT_FIRST", 0.0)
    monkeypatch.setattr(sample_guard, "SHARE", 0.0)
    for _ in range(3):
        source.look(True)
    assert looks.count == 0
    monkeypatch.setattr(sample_guard, "AT_FIRST", 60.0)
    for _ in range(3):
        source.look(True)
    assert looks.count == 3
    assert not source.has_changed()


def test_samples_that_their_attributes_tell_are_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_guard, "AT_FIRST", 60.0)
    for dataset in (DATA, Subset(DATA, range(10))):
        looks, source = Looks(monkeypatch), read_source(dataset)
        source.look(True)
        assert looks.count == 0
    assert not source.has_changed()


@pytest.mark.parametrize(("scale", "has_changed"), [(1.0, False), (2.0, True)])
def test_what_is_read_tells_whether_something_was_only_opened(
    scale: float, has_changed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample_guard, "AT_FIRST", 0.0)
    monkeypatch.setattr(sample_guard, "SHARE", 0.0)
    dataset = Scaled()
    looks, source = Looks(monkeypatch), read_source(dataset)
    dataset.file = File(scale)
    source.look(False)
    assert not source.has_changed()
    source.look(True)
    assert source.has_changed() is has_changed
    source.look(True)
    assert looks.count == 1
    dataset.file = File(scale)
    source.look(True)
    assert source.has_changed(), "another file"


def test_identity_tells_the_samples_and_how_batches_are_made() -> None:
    def identity(dataset: Any, **options: Any) -> str | None:
        return data_loader_source(DataLoader(dataset, batch_size=4, **options)).identity()

    found = [
        identity(DATA),
        identity(TensorDataset(X + 1, torch.arange(10))),
        identity(DATA, collate_fn=with_neighbours),
    ]
    assert None not in found
    assert len(set(found)) == 3
    assert identity(DATA) == found[0]
    nothing_tells: Any = iter([1])
    collate = partial(default_collate, nothing_tells)
    assert identity(DATA, collate_fn=collate) is None
    assert identity(Padded()) is None
