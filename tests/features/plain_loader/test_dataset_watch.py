"""A data set that somebody has changed is told from one that is only read."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, Subset

from plt_nn.features.plain_loader.dataset_watch import Changed, DatasetWatch
from plt_nn.features.plain_loader.sample_guard import SampleChecksums


class Transform:
    """With a setting."""

    def __init__(self) -> None:
        self.strength = 1.0

    def __call__(self, value: Any) -> Any:
        return value * self.strength


class Data(Dataset[Any]):
    """Of all kinds of attributes."""

    def __init__(self) -> None:
        self.tensor, self.array, self.scale, self.nothing = torch.zeros(3), np.zeros(3), float("nan"), None
        self.names = {"a": {"deep": 1}}
        self.samples: list[Any] = [("a", 1), ("b", 2)]
        self.values: list[Any] = [1, None]
        self.transform, self.file = Transform(), object()
        self.large: list[int] = list(range(20_000))
        self.reads = 0

    def __getitem__(self, number: int) -> Any:
        self.reads += 1
        return number


def replace_tensor(data: Data) -> None:
    data.tensor = torch.zeros(3)


CHANGES: dict[str, Callable[[Data], Any]] = {
    "tensor in place": lambda data: data.tensor.add_(0),
    "another tensor": replace_tensor,
    "array in place": lambda data: data.array.__setitem__(1, 1),
    "value": lambda data: setattr(data, "scale", 1.0),
    "was nothing": lambda data: setattr(data, "nothing", 0),
    "new attribute": lambda data: setattr(data, "more", 0),
    "list": lambda data: data.samples.__setitem__(0, ("a", 2)),
    "list in place of equals": lambda data: data.samples.__setitem__(0, ("a", 1.0)),
    "values": lambda data: data.values.__setitem__(0, 1.0),
    "dict": lambda data: data.names["a"].__setitem__("deep", 2),
    "transform": lambda data: setattr(data.transform, "strength", 2.0),
    "another transform": lambda data: setattr(data, "transform", Transform()),
    "length": lambda data: data.large.append(1),
    "another file": lambda data: setattr(data, "file", object()),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("is_subset", [False, True])
def test_changes_are_seen(name: str, is_subset: bool) -> None:
    data = Data()
    watch = DatasetWatch(Subset(data, [0, 1]) if is_subset else data)
    assert not watch.changed().all
    watch.begin()
    assert watch.has_begun
    assert not watch.changed().all
    CHANGES[name](data)
    assert watch.changed().others
    watch.end()
    assert not watch.changed().all


def test_a_lists_subset_of_others() -> None:
    subset = Subset(Data(), [0, 1])
    watch = DatasetWatch(subset)
    watch.begin()
    indices: Any = subset.indices
    indices[0] = 5
    assert watch.changed().others


def test_what_reading_changes_tells_nothing() -> None:
    data = Data()
    watch = DatasetWatch(data)
    watch.begin()
    data[0]
    assert watch.changed().others == {"reads"}
    watch.ignore({"reads"})
    data[1]
    assert not watch.changed().all
    data.scale = 2.0
    assert watch.changed().others == {"scale"}


@pytest.mark.parametrize("name", ["nothing", "missing"])
@pytest.mark.parametrize(("value", "is_opened"), [(object(), True), (Transform(), False), (len, False), (1, False)])
def test_what_is_opened_late_is_told_from_what_was_changed(name: str, value: Any, is_opened: bool) -> None:
    data = Data()
    watch = DatasetWatch(data)
    watch.begin()
    setattr(data, name, value)
    names, none = frozenset({name}), frozenset[str]()
    assert watch.changed() == (Changed(names, none) if is_opened else Changed(none, names))


def test_many_arrays_cost_no_more_than_one() -> None:
    data = Data()
    lists: Any = data
    lists.arrays = [np.zeros(1_000_000) for _ in range(50)]  # 400 MB, of pages that are not there
    watch = DatasetWatch(data)
    watch.begin()
    lists.arrays[0][5] = 1
    assert watch.changed().others


def test_spots_are_as_they_were_first_read() -> None:
    x = torch.rand(500, 3)
    checksums = SampleChecksums(500)
    assert checksums.some() == []
    for rows in torch.arange(500).view(10, 50):
        assert checksums.agree(rows, x[rows])
    chosen = {tuple(checksums.some()) for _ in range(5)}
    assert len(chosen) > 1
    assert all(len(set(numbers)) == 4 for numbers in chosen)
    rows = torch.tensor(checksums.some())
    assert checksums.agree(rows, x[rows])
    x[rows[2], 1] += 1e-3
    assert not checksums.agree(rows, x[rows])
    checksums.forget()
    assert checksums.agree(rows, x[rows])
