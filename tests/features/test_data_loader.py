"""Which loaders can be a source, what of their batches is taken for the inputs, and what tells them from others."""

import os
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, default_collate

from plt_nn.features.data_loader import DataLoaderSource, can_be_source, why_no_source

X = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))
DATA = TensorDataset(X, torch.arange(10))


class Endless(IterableDataset[Any]):
    """Samples without numbers."""

    def __iter__(self) -> Any:
        return iter(range(3))


def test_loaders_of_numbered_samples_in_batches_can_be_sources() -> None:
    assert can_be_source(DataLoader(DATA, batch_size=2))
    assert not can_be_source(DataLoader(DATA, batch_size=None))
    assert not can_be_source(DataLoader(Endless(), batch_size=2))
    assert not can_be_source([1, 2])


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
    source = DataLoaderSource(DataLoader(DATA, batch_size=2))
    found = source.inputs_of(batch)
    assert (found is X) is is_found
    if is_found:
        other = torch.zeros(10, 3)
        replaced = source.with_inputs(batch, other)
        assert source.inputs_of(replaced) is other
        assert type(replaced) is type(batch) or isinstance(batch, Tensor)


def test_what_was_read_is_known() -> None:
    source = DataLoaderSource(DataLoader(DATA, batch_size=4))
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
    assert list(DataLoaderSource(DataLoader(DATA, batch_size=4, num_workers=2)).read([])) == []


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

    assert can_be_source(Plain(DATA, batch_size=2))
    assert why_no_source(Iterates(DATA, batch_size=2)) == "a Iterates makes its batches in a way of its own"
    assert why_no_source(Resumes(DATA, batch_size=2)) == "a Resumes goes on with an epoch in a way of its own"
    assert why_no_source(DataLoader(TensorDataset(X[:0]), batch_size=2)) == "there are none"


def test_inputs_are_read_by_a_worker_where_workers_read() -> None:
    class Told(Dataset[Any]):
        def __len__(self) -> int:
            return 10

        def __getitem__(self, number: int) -> Any:
            return X[number], os.getpid()

    for workers in (0, 1):
        source = DataLoaderSource(DataLoader(Told(), batch_size=2, num_workers=workers))
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
        return DataLoaderSource(DataLoader(dataset, batch_size=4, **options)).is_random()

    assert not is_random(DATA)
    assert is_random(DATA, collate_fn=mixed)
    assert is_random(DATA, collate_fn=with_neighbours)
    assert is_random(Padded(), collate_fn=padded)


def test_identity_tells_the_samples_and_how_batches_are_made() -> None:
    def identity(dataset: Any, **options: Any) -> str | None:
        return DataLoaderSource(DataLoader(dataset, batch_size=4, **options)).identity

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
