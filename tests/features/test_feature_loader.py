"""A feature loader gives the loader's batches in its order, whatever of them is stored."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler, TensorDataset, WeightedRandomSampler

from plt_nn.data.sampling import EpochBatches
from plt_nn.data.tensors import TensorBatches
from plt_nn.features.feature_loader import FeatureLoader, ResumableFeatureLoader, Serving, feature_loader
from plt_nn.features.lazy_inputs import LazyInputs
from plt_nn.features.plain_loader.data_loader import data_loader_source
from plt_nn.features.rows import RowStore, RowType

SIZE = 22
X = torch.randn(SIZE, 3, generator=torch.Generator().manual_seed(0))
Y = torch.arange(SIZE)


class Named(Dataset[Any]):
    """Samples with a text."""

    def __len__(self) -> int:
        return SIZE

    def __getitem__(self, number: int) -> dict[str, Any]:
        return {"image": X[number], "label": Y[number], "name": f"sample {number}"}


class Dicts(Dataset[Any]):
    """Samples of tensors by name."""

    def __len__(self) -> int:
        return SIZE

    def __getitem__(self, number: int) -> dict[str, Any]:
        return {"label": Y[number], "image": X[number], "more": {"weight": X[number, 0], "place": number}}


def pairs(**options: Any) -> DataLoader[Any]:
    return DataLoader(TensorDataset(X, Y), **options)


LOADERS: dict[str, Any] = {
    "in order": lambda: pairs(batch_size=4),
    "shuffled": lambda: pairs(batch_size=4, shuffle=True),
    "last one dropped": lambda: pairs(batch_size=4, shuffle=True, drop_last=True),
    "own generator": lambda: pairs(batch_size=4, shuffle=True, generator=torch.Generator().manual_seed(5)),
    "weighted": lambda: pairs(batch_size=4, sampler=WeightedRandomSampler([1.0] * SIZE, 30)),
    "batch sampler": lambda: pairs(batch_sampler=BatchSampler(RandomSampler(range(SIZE)), 5, False)),
    "dicts": lambda: DataLoader(Dicts(), batch_size=4, shuffle=True),
    "texts": lambda: DataLoader(Named(), batch_size=4, shuffle=True),
    "workers": lambda: pairs(batch_size=4, shuffle=True, num_workers=2),
    "lasting workers": lambda: pairs(batch_size=8, shuffle=True, num_workers=1, persistent_workers=True),
}


def feature(x: Tensor) -> Tensor:
    return x.sum(1, keepdim=True)


def new_serving(rows: Tensor | None = None) -> Serving:
    """A serving in which some rows are stored."""
    store = RowStore(SIZE, [RowType((1,), torch.float32)])
    if rows is not None:
        store.put(rows, [feature(X[rows])])
    return Serving(store, (3,), torch.float32)


def plain(value: Any) -> Any:
    """A batch as lists, its inputs read."""
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return value.tolist() if isinstance(value, Tensor) else value


def epochs(loader: Any, count: int = 3) -> list[Any]:
    torch.manual_seed(2)
    found: list[Any] = []
    for _ in range(count):
        found += [plain(batch) for batch in loader]
        found.append(torch.rand(1).item())  # where the global generator has got to
    return found


# Of those with workers, which start a process for each of them, one in which a part is stored.
STORED = [(name, stored) for name in LOADERS for stored in ((10,) if "workers" in name else (0, 10, SIZE))]


@pytest.mark.parametrize(("name", "stored"), STORED)
def test_batches_order_and_global_random_numbers_are_the_loaders(name: str, stored: int) -> None:
    count = 2 if "workers" in name else 3
    expected = epochs(LOADERS[name](), count)
    loader = LOADERS[name]()
    served = feature_loader(loader, data_loader_source(loader))
    served.serving = new_serving(torch.arange(stored))
    assert epochs(served, count) == expected
    assert len(served) == len(loader)


def test_without_serving_it_is_the_loader() -> None:
    expected = epochs(LOADERS["shuffled"]())
    loader = LOADERS["shuffled"]()
    served = feature_loader(loader, data_loader_source(loader))
    assert epochs(served) == expected
    assert served.batch_size == 4
    assert type(served) is FeatureLoader
    with pytest.raises(AttributeError):
        _ = served.nothing


def test_nothing_is_remembered_where_nothing_is_served() -> None:
    source = data_loader_source(loader := LOADERS["shuffled"]())
    served = feature_loader(loader, source)
    served.serving = new_serving()
    list(served)
    assert source.knows(torch.arange(SIZE))
    served.serving = None
    list(served)
    assert not source.knows(torch.arange(1))


def test_batches_without_numbers_are_handed_out_as_they_are() -> None:
    class Wrapping(Dataset[Any]):
        def __len__(self) -> int:
            return SIZE

        def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
            return X[number % SIZE], Y[number % SIZE]

    def wrapping(workers: int) -> DataLoader[Any]:
        return DataLoader(Wrapping(), batch_sampler=[[0, 1], [2, -1], [3, SIZE + 4], [5]], num_workers=workers)

    for workers in (0, 1):
        served = feature_loader(wrapping(workers), data_loader_source(wrapping(workers)))
        served.serving = new_serving(torch.arange(SIZE))
        for _ in range(2):
            batches = list(served)
            assert [isinstance(x, LazyInputs) for x, _ in batches] == [True, False, False, True]
            assert [plain(batch) for batch in batches] == [plain(batch) for batch in wrapping(workers)]


def inputs_in(batch: Any) -> Any:
    return batch["image"] if isinstance(batch, dict) else batch[0]


def test_what_is_stored_is_served_and_not_read() -> None:
    reads: list[int] = []

    class Counted(Dataset[Any]):
        def __len__(self) -> int:
            return SIZE

        def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
            reads.append(number)
            return X[number], Y[number]

    loader = DataLoader(Counted(), batch_size=4, shuffle=True)
    served = feature_loader(loader, data_loader_source(loader))
    serving = served.serving = new_serving()
    for x, y in served:
        assert isinstance(x, LazyInputs)
        assert x.features is None
        assert x.served_by is serving
        assert torch.equal(x.rows, y)
        assert serving.store is not None
        serving.store.put(x.rows, [feature(x.inputs())])
    assert sorted(reads) == list(range(SIZE))
    for x, y in served:
        assert x.features is not None
        assert torch.equal(x.features[0], feature(X[y]))
    assert len(reads) == SIZE + 4, "a few, to see whether they are the same"
    assert serving.read_anyway == 0
    reads.clear()
    batch = next(iter(served))
    assert torch.equal(batch[0].inputs(), X[batch[1]])
    assert serving.read_anyway == 1
    assert len(reads) == 4 + 4


def test_batches_with_texts_are_read_and_have_their_features_yet() -> None:
    loader = LOADERS["texts"]()
    served = feature_loader(loader, data_loader_source(loader))
    served.serving = new_serving(torch.arange(SIZE))
    for _ in range(2):
        for batch in served:
            assert isinstance(batch["image"], LazyInputs)
            assert batch["image"].features is not None
            assert batch["name"] == [f"sample {number}" for number in batch["label"].tolist()]


@pytest.mark.parametrize("name", ["shuffled", "workers"])
def test_serving_may_change_in_the_middle_of_an_epoch(name: str) -> None:
    expected = epochs(LOADERS[name](), 2)
    loader = LOADERS[name]()
    served = feature_loader(loader, data_loader_source(loader))
    list(served)  # all is known
    torch.manual_seed(2)
    found: list[Any] = []
    kinds: list[bool] = []
    for _ in range(2):
        served.serving = new_serving()
        for number, batch in enumerate(served):
            kinds.append(isinstance(batch[0], LazyInputs) and batch[0].features is not None)
            found.append(plain(batch))
            if number == 1:
                served.serving = new_serving(torch.arange(SIZE))
            elif number == 3:
                served.serving = None
        found.append(torch.rand(1).item())
    assert found == expected
    assert kinds == [False, False, True, True, False, False] * 2


def test_an_epoch_that_is_broken_off_leaves_the_next_one_whole() -> None:
    loader = pairs(batch_size=4, num_workers=1)
    served = feature_loader(loader, data_loader_source(loader))
    served.serving = new_serving(torch.arange(6))
    iterator: Iterator[Any] = iter(served)
    next(iterator)
    next(iterator)
    del iterator
    assert [plain(batch) for batch in served] == [plain(batch) for batch in loader]


def test_inputs_of_another_shape_are_handed_out_as_they_are() -> None:
    class Ragged(Dataset[Any]):
        def __len__(self) -> int:
            return 8

        def __getitem__(self, number: int) -> tuple[Tensor, int]:
            return torch.ones(3 if number < 4 else 5), number

    loader = DataLoader(Ragged(), batch_size=4)
    served = feature_loader(loader, data_loader_source(loader))
    served.serving = Serving()
    assert [type(x) for x, _ in served] == [LazyInputs, Tensor]


def tensor_batches() -> TensorBatches:
    return TensorBatches(X, Y, EpochBatches(SIZE, 4, shuffle=True, seed=3))


@pytest.mark.parametrize("stored", [0, 10, SIZE])
def test_a_resumable_loader_resumes_at_the_right_batch(stored: int) -> None:
    expected = [plain(batch) for batch in tensor_batches()]
    loader = tensor_batches()
    served = feature_loader(loader, loader.feature_source())
    assert isinstance(served, ResumableFeatureLoader)
    served.serving = new_serving(torch.arange(stored))
    iterator = iter(served)
    found = [plain(next(iterator)) for _ in range(3)]
    state = served.state_dict()
    assert state == {"epoch": 0, "done": 3}
    again = tensor_batches()
    resumed = feature_loader(again, again.feature_source())
    resumed.serving = new_serving(torch.arange(stored))
    resumed.load_state_dict(state)
    assert found + [plain(batch) for batch in resumed] == expected
    assert [plain(batch) for batch in resumed] == expected  # the next pass is whole


def test_what_comes_next_is_gathered_meanwhile() -> None:
    loader = feature_loader(pairs(batch_size=4), data_loader_source(pairs(batch_size=4)))
    loader.serving = Serving(RowStore(SIZE, [RowType((3,), torch.float32)]), (3,))
    plain = list(loader)
    assert loader.serving.store is not None
    loader.serving.store.put(torch.arange(8, SIZE), [2 * X[8:]])
    gathered: list[str] = []
    get = loader.serving.store.get

    def counted(rows: Tensor) -> tuple[Tensor, ...]:
        gathered.append(threading.current_thread().name)
        return get(rows)

    loader.serving.store.get = counted  # type: ignore[method-assign]
    loader.gathers_ahead = True
    batches = list(loader)
    assert all(torch.equal(one[1], other[1]) for one, other in zip(plain, batches, strict=True))
    features = [batch[0].features for batch in batches]
    assert features[:2] == [None, None]
    assert torch.equal(torch.cat([one[0] for one in features[2:]]), 2 * X[8:])
    assert len(gathered) == 4
    assert [name.startswith("features") for name in gathered] == [False, True, True, True]


def test_an_epoch_that_is_broken_off_leaves_no_thread() -> None:
    loader = feature_loader(pairs(batch_size=4), data_loader_source(pairs(batch_size=4)))
    loader.serving = Serving(RowStore(SIZE, [RowType((3,), torch.float32)]), (3,))
    list(loader)
    assert loader.serving.store is not None
    loader.serving.store.put(torch.arange(SIZE), [X])
    loader.gathers_ahead = True
    batches = iter(loader)
    next(batches)
    assert any(thread.name.startswith("features") for thread in threading.enumerate())
    batches.close()  # type: ignore[attr-defined]
    assert not any(thread.name.startswith("features") for thread in threading.enumerate())
