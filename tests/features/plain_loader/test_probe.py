"""What samples depend on is found by reading a few, in a worker where workers read."""

import os
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, Subset, SubsetRandomSampler, TensorDataset, default_collate

from plt_nn.features.plain_loader.probe import Probe, probe
from plt_nn.features.plain_loader.reader import read_apart, reason_of

X = torch.rand(20, 3, generator=torch.Generator().manual_seed(0))
DATA = TensorDataset(X, torch.arange(20))


class Read(Dataset[Any]):
    """Samples as a function reads them; notes which."""

    def __init__(self, read: Callable[[int], Any]) -> None:
        self.read, self.numbers = read, list[int]()

    def __len__(self) -> int:
        return 20

    def __getitem__(self, number: int) -> Any:
        self.numbers.append(number)
        return self.read(number)


def counted(samples: list[Any]) -> Any:
    x, _ = default_collate(samples)
    return x, torch.arange(len(x))


def reversed_(samples: list[Any]) -> Any:
    x, y = default_collate(samples)
    return x - x.mean(0), y


def whole(value: Any) -> Any:
    return lambda number: (X[number], value(number))


held: dict[int, Any] = {}
READS: dict[str, tuple[Callable[[int], Any], bool]] = {
    "a sample": (whole(lambda number: number), False),
    "missing labels": (whole(lambda number: float("nan")), False),
    "torch": (whole(lambda number: torch.rand(())), True),
    "numpy": (whole(lambda number: np.random.rand()), True),
    "python": (whole(lambda number: random.random()), True),
    "drawn and thrown away": (lambda number: (torch.rand(1), X[number])[1], True),
    "drawn once": (lambda number: held.setdefault(number, torch.rand(2)), True),
    "other entropy": (lambda number: torch.frombuffer(bytearray(os.urandom(4)), dtype=torch.uint8), True),
}


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("name", READS)
def test_randomness_is_found_and_disturbs_nobody(name: str, workers: int) -> None:
    read, expected = READS[name]
    held.clear()
    before = (torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate())  # type: ignore[index]
    data = Read(read)
    assert probe(DataLoader(data, 4, num_workers=workers), 20).is_random is expected
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # type: ignore[index]
    assert random.getstate() == before[2]
    assert (data.numbers == []) is (workers > 0)


OWN: dict[str, Callable[[], tuple[Any, Callable[[Any], Any]]]] = {
    "torch": lambda: (torch.Generator().manual_seed(1), lambda own: torch.rand((), generator=own).item()),
    "numpy": lambda: (np.random.default_rng(1), lambda own: own.random()),
    "numpy of old": lambda: (np.random.RandomState(1), lambda own: own.rand()),
    "python": lambda: (random.Random(1), lambda own: own.random()),
}


@pytest.mark.parametrize("name", OWN)
def test_generators_of_the_data_set_are_put_back(name: str) -> None:
    class Owner(Dataset[Any]):
        def __init__(self) -> None:
            generator, self.draw = OWN[name]()
            self.held = {"deep": [generator]}

        def __len__(self) -> int:
            return 20

        def __getitem__(self, number: int) -> Any:
            return self.draw(self.held["deep"][0])

    owner = Owner()
    assert probe(DataLoader(owner, 4), 20).is_random
    assert owner[0] == Owner()[0]


def named(number: int) -> Any:
    return X[number], f"{number}.jpg"


def a_list_a_sample(samples: list[Any]) -> Any:
    return torch.stack([x for x, _ in samples]), [[y] * (1 + y % 2) for _, y in samples]


def padded(samples: list[Any]) -> Any:
    x, names = default_collate(samples)
    return torch.nn.functional.pad(x, (0, len(names))), names


def apart(samples: list[Any]) -> Any:
    return tuple(zip(*samples, strict=True))


ODD: dict[str, tuple[Any, Any, Probe]] = {
    "names": (named, default_collate, Probe(False, False, True)),
    "names in a dict": (lambda n: {"image": X[n], "path": f"{n}"}, default_collate, Probe(False, False, True)),
    "a list a sample": (lambda n: (X[n], torch.tensor(n)), a_list_a_sample, Probe(False, False, True)),
    "padded": (named, padded, Probe(False, True, True)),
    "no tensor": (named, apart, Probe(False, True, True, has_inputs=False)),
}


@pytest.mark.parametrize("name", ODD)
def test_batches_that_hold_as_many_things_as_samples(name: str) -> None:
    read, collate, expected = ODD[name]
    found = probe(DataLoader(Read(read), 4, collate_fn=collate), 20)
    assert found._replace(changed=frozenset()) == expected


@pytest.mark.parametrize("workers", [0, 1])
def test_what_reading_changes_is_told_from_where_it_is_read(workers: int) -> None:
    class Counting(Read):
        def __init__(self) -> None:
            super().__init__(X.__getitem__)
            self.file: Any = None
            self.reads, self.scale = 0, 1.0

        def __getitem__(self, number: int) -> Any:
            self.reads += 1
            self.file = self.file or object()
            return super().__getitem__(number)

    data = Subset(Counting(), range(20))
    expected = {"dataset.file", "dataset.reads", "dataset.numbers"}
    assert probe(DataLoader(data, 4, num_workers=workers), 20).changed == expected


def test_what_depends_on_the_batch() -> None:
    assert probe(DataLoader(DATA, 4), 20) == Probe(False, False, False)
    assert probe(DataLoader(DATA, 4, collate_fn=counted), 20) == Probe(False, False, True)
    assert probe(DataLoader(DATA, 4, collate_fn=reversed_), 20) == Probe(False, True, False)


def test_samples_that_an_epoch_leaves_out_are_not_read() -> None:
    numpy = list(np.array([3, 7, 12]))
    tensor: Any = torch.tensor([3, 7, 12])
    samplers: list[Any] = [SubsetRandomSampler(given) for given in ([3, 7, 12], numpy, tensor)]
    for sampler in (*samplers, [3, 7, 12], numpy, range(3, 13)):
        data = Read(lambda number: X[number])
        probe(DataLoader(data, 4, sampler=sampler), 20)
        assert all(type(number) is int for number in data.numbers)
        assert min(data.numbers) >= 3
        assert max(data.numbers) <= 12
    with pytest.raises(ValueError, match="no numbers"):
        probe(DataLoader(Read(lambda number: X[0]), 4, sampler=["a"]), 20)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_is_told_in_a_line(workers: int) -> None:
    def broken(number: int) -> Any:
        raise OSError("no such\nfile")

    with pytest.raises(OSError, match="no such") as caught:
        read_apart(DataLoader(Read(broken), 4, num_workers=workers), [[0]])
    assert reason_of(caught.value) == "OSError: no such"
    assert reason_of(KeyError()) == "KeyError: KeyError"
