"""The order of a DataLoader's batches is asked for when torch would ask, and drawn with the same random numbers."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, Sampler, TensorDataset

from plt_nn.features.plain_loader.order import Order
from plt_nn.features.source import Unnumbered

SIZE = 20
DATA = TensorDataset(torch.arange(SIZE))


class Told(Sampler[int]):
    """Tells how often it was asked, and draws a number each time."""

    def __init__(self, count: int = SIZE) -> None:
        self.asked, self._count = 0, count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[int]:
        for _ in range(self._count):
            self.asked += 1
            yield int(torch.randint(SIZE, ()))


class DrawsWhenMade(Sampler[list[int]]):
    """Draws its order when an iterator of it is made, and not when that is first asked."""

    def __len__(self) -> int:
        return 4

    def __iter__(self) -> Iterator[list[int]]:
        return iter(torch.randperm(SIZE).view(4, 5).tolist())


def loader(**options: Any) -> DataLoader[Any]:
    return DataLoader(DATA, **options)


LOADERS: dict[str, Any] = {
    "in order": lambda: loader(batch_size=5),
    "shuffled": lambda: loader(batch_size=5, shuffle=True),
    "own generator": lambda: loader(batch_size=5, shuffle=True, generator=torch.Generator().manual_seed(5)),
    "with replacement": lambda: loader(
        batch_size=5, sampler=RandomSampler(DATA, True, 100, torch.Generator().manual_seed(5))
    ),
    "a number a sample": lambda: loader(batch_size=5, sampler=Told()),
    "when it is made": lambda: loader(batch_sampler=DrawsWhenMade()),
    "batch sampler": lambda: loader(batch_sampler=BatchSampler(RandomSampler(DATA), 6, drop_last=True)),
}


def drawn(batches: Any, taken: int) -> list[Any]:
    """Some batches, and where the global generator has got to after each."""
    found: list[Any] = []
    for number, batch in enumerate(batches):
        if number == taken:
            break
        found += [batch.tolist(), torch.rand(1).item()]
        if number + 1 == taken:  # as Lightning, which asks for no more than it needs
            break
    return found


@pytest.mark.parametrize("taken", [2, 4, 99])
@pytest.mark.parametrize("name", LOADERS)
def test_order_and_random_numbers_are_torchs(name: str, taken: int) -> None:
    plain, order = LOADERS[name](), Order(LOADERS[name](), SIZE)
    torch.manual_seed(3)
    expected = [drawn((batch[0] for batch in plain), taken) for _ in range(3)]
    torch.manual_seed(3)
    found = [drawn((batch for portion in order.portions() for batch in portion), taken) for _ in range(3)]
    assert found == expected


def test_a_strange_sampler_is_asked_when_its_batch_is_needed() -> None:
    sampler = Told()
    portions = Order(loader(batch_size=5, sampler=sampler), SIZE).portions()
    assert [len(next(portions)), sampler.asked] == [1, 5]
    assert [len(next(portions)), sampler.asked] == [1, 10]


def test_workers_ask_for_all_and_of_an_endless_one_for_what_there_is() -> None:
    assert [len(portion) for portion in Order(loader(batch_size=5, num_workers=1), SIZE).portions()] == [4]
    endless = Told(10**9)
    endless.__class__ = type("Endless", (Told,), {"__len__": lambda sampler: SIZE})
    portions = Order(loader(batch_size=5, num_workers=1, sampler=endless), SIZE).portions()
    assert len(next(portions)) == 5


def test_only_numbers_of_samples_are_rows() -> None:
    def first(*keys: Any, batch: Any = None) -> Tensor | Unnumbered:
        sampler: Any = [batch if batch is not None else list(keys)]
        return next(Order(loader(batch_sampler=sampler), SIZE).portions())[0]

    for keys in ((3, 0), (np.int64(3), np.int32(0)), tuple(torch.tensor([3, 0]))):
        found = first(*keys)
        assert isinstance(found, Tensor)
        assert found.tolist() == [3, 0]
    for keys in ((3, SIZE), (-1,), ("a",), ((1, 2),), (True, False), (1.0,), ()):
        assert first(*keys) == Unnumbered(list(keys))
    assert first(batch="ab") == Unnumbered("ab")


def test_what_an_iterator_knows_alone() -> None:
    def draws_ahead(**options: Any) -> bool:
        return Order(loader(**options), SIZE).draws_ahead

    assert not draws_ahead(batch_size=5, shuffle=True)
    assert not draws_ahead(batch_size=5, num_workers=1)
    assert draws_ahead(batch_size=5, shuffle=True, num_workers=1)
    assert draws_ahead(batch_sampler=BatchSampler(RandomSampler(DATA), 5, False), num_workers=1)
    assert draws_ahead(batch_sampler=DrawsWhenMade())
