"""Our loaders as sources give the batches that the loaders give, also resumed, and know their samples by number."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2

from plt_nn.backbones.image_transform import ImageTransform
from plt_nn.data.batch import Batch
from plt_nn.data.image_batches import ImageBatches, image_loader
from plt_nn.data.image_files import ImageFiles
from plt_nn.data.sampling import EpochBatches
from plt_nn.data.tensors import TensorBatches
from plt_nn.features.feature_loader import Serving, feature_loader
from plt_nn.features.lazy_inputs import LazyInputs
from plt_nn.features.rows import RowStore, RowType

SIZE = 9
TO_TENSOR = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
STILL = v2.Compose(TO_TENSOR)
AT_RANDOM = v2.Compose([v2.RandomHorizontalFlip(), v2.ColorJitter(brightness=0.5), *TO_TENSOR])


@pytest.fixture
def paths(tmp_path: Path, picture: Callable[..., Path]) -> list[Path]:
    return [picture(tmp_path / f"{number}.png", (6, 5), 20 * number) for number in range(SIZE)]


def images(paths: list[Path], transform: Any = STILL, num_workers: int = 0, shuffle: bool = True) -> ImageBatches:
    files = ImageFiles(paths, torch.arange(SIZE) % 2, ImageTransform((), transform), 7)
    return image_loader(files, EpochBatches(SIZE, 4, shuffle=shuffle, seed=3), num_workers)


def same(one: Batch, other: Batch) -> bool:
    assert isinstance(one.x, Tensor)
    assert isinstance(other.x, Tensor)
    return torch.equal(one.x, other.x) and torch.equal(one.y, other.y) and torch.equal(one.index, other.index)


def served(loader: ImageBatches | TensorBatches, stored: Tensor, views: int = 0) -> Any:
    source = loader.feature_source(views)
    result = feature_loader(loader, source)
    store = RowStore(source.size, [RowType((), torch.int64)])
    store.put(stored, [stored])
    result.serving = Serving(store, (3, 5, 6) if isinstance(loader, ImageBatches) else (2,), torch.float32)
    return result


@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize("stored", [0, 5, SIZE])
def test_images_come_as_from_the_loader(paths: list[Path], stored: int, num_workers: int) -> None:
    plain, kept = (
        images(paths, num_workers=num_workers),
        served(images(paths, num_workers=num_workers), torch.arange(stored)),
    )
    for epoch in range(2):
        for loader in (plain, kept):
            loader.epoch_batches.set_epoch(epoch)
        for one, other in zip(plain, kept, strict=True):
            assert isinstance(other.x, LazyInputs)
            assert (other.x.features is not None) is bool((one.index < stored).all())
            if other.x.features is not None:
                assert torch.equal(other.x.features[0], one.index)
            assert same(one, other)


def test_views_are_those_of_the_loaders_first_epochs(paths: list[Path]) -> None:
    plain, kept = images(paths, AT_RANDOM), served(images(paths, AT_RANDOM), torch.arange(2 * SIZE), views=2)
    epochs: list[list[Batch]] = []
    for epoch in range(4):
        for loader in (plain, kept):
            loader.epoch_batches.set_epoch(epoch)
        expected, found = list(plain), list(kept)
        assert [b.index.tolist() for b in found] == [b.index.tolist() for b in expected]
        epochs.append(found)
        for one, other in zip(expected, found, strict=True):
            assert isinstance(other.x, LazyInputs)
            assert other.x.features is not None
            assert torch.equal(other.x.features[0], one.index + epoch % 2 * SIZE)  # rows of view after view
            assert same(one, other) is (epoch < 2)
    by_sample = [{int(i): x for b in epoch for i, x in zip(b.index, b.x, strict=True)} for epoch in epochs]
    assert all(torch.equal(by_sample[0][i], by_sample[2][i]) for i in range(SIZE))
    assert not all(torch.equal(by_sample[0][i], by_sample[1][i]) for i in range(SIZE))


def test_a_random_transform_is_told_unless_its_views_are_fixed(paths: list[Path]) -> None:
    assert not images(paths).feature_source().why_random()
    assert images(paths, AT_RANDOM).feature_source().why_random()
    assert not images(paths, AT_RANDOM).feature_source(3).why_random()
    assert images(paths, AT_RANDOM).feature_source(3).size == 3 * SIZE


def test_the_identity_of_images_tells_files_transform_and_views(paths: list[Path]) -> None:
    first = images(paths).feature_source().identity()
    assert first is not None
    assert images(paths, shuffle=False).feature_source().identity() == first
    others = [
        images([*paths[:-1], paths[0]]).feature_source().identity(),
        images(paths, v2.Compose([v2.Resize(3), *TO_TENSOR])).feature_source().identity(),
        images(paths, AT_RANDOM).feature_source(2).identity(),
        images(paths, AT_RANDOM).feature_source(3).identity(),
    ]
    assert len({first, None, *others}) == 6
    assert images(paths, partial(torch.where, iter([1]))).feature_source().identity() is None
    os.utime(paths[0], (1e9, 1e9))
    assert images(paths).feature_source().identity() != first


@pytest.mark.parametrize("stored", [0, SIZE])
def test_images_resume_in_the_middle_of_an_epoch(paths: list[Path], stored: int) -> None:
    expected = list(images(paths))
    kept = served(images(paths), torch.arange(stored))
    iterator = iter(kept)
    assert same(next(iterator), expected[0])
    state = kept.state_dict()
    assert state == {"epoch": 0, "done": 1}
    again = served(images(paths), torch.arange(stored))
    again.load_state_dict(state)
    found = list(again)
    assert len(found) == len(expected) - 1
    assert all(same(*pair) for pair in zip(found, expected[1:], strict=True))


@pytest.mark.parametrize("shuffle", [True, False])
def test_tensors_come_as_from_the_loader(shuffle: bool) -> None:
    x, y = torch.randn(SIZE, 2), torch.arange(SIZE)

    def loader() -> TensorBatches:
        return TensorBatches(x, y, EpochBatches(SIZE, 4, shuffle=shuffle, seed=3))

    plain, kept = loader(), served(loader(), torch.arange(4))
    for epoch in range(3):
        plain.sampler.set_epoch(epoch)
        kept.sampler.set_epoch(epoch)
        assert all(same(*pair) for pair in zip(plain, kept, strict=True))
        assert plain.state_dict() == kept.state_dict()


def test_each_process_plans_its_own_share() -> None:
    x = torch.randn(SIZE, 2)
    for shuffle in (True, False):
        plans = []
        for rank in range(2):
            sampler = EpochBatches(SIZE, 2, rank=rank, world_size=2, shuffle=shuffle, seed=3)
            (plan,) = TensorBatches(x, torch.arange(SIZE), sampler).feature_source().plan()
            plans.append(list(plan))
        assert len(plans[0]) == len(plans[1])
        assert set(torch.cat(plans[0] + plans[1]).tolist()) == set(range(SIZE))


def test_the_identity_of_tensors_is_that_of_the_inputs() -> None:
    def identity(x: Tensor, y: Tensor) -> str | None:
        return TensorBatches(x, y, EpochBatches(SIZE, 4)).feature_source().identity()

    x, y = torch.randn(SIZE, 2), torch.arange(SIZE)
    assert identity(x, y) == identity(x.clone(), y + 1)
    assert identity(x, y) != identity(x + 1, y)


def test_inputs_that_are_changed_are_served_no_longer(paths: list[Path]) -> None:
    x = torch.randn(SIZE, 2)
    of_tensors = served(TensorBatches(x, torch.arange(SIZE), EpochBatches(SIZE, 4)), torch.arange(SIZE))
    of_images = served(images(paths), torch.arange(SIZE))
    for loader in (of_tensors, of_images):
        assert all(isinstance(batch.x, LazyInputs) for batch in loader)
    x.mul_(2)
    of_images.files.transform = ImageTransform((), v2.Compose([v2.RandomHorizontalFlip(1), *TO_TENSOR]))
    for loader in (of_tensors, of_images):
        assert not any(isinstance(batch.x, LazyInputs) for batch in loader)
        assert loader.is_outdated


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_loop_within_a_loop_reads_for_itself(paths: list[Path], num_workers: int) -> None:
    source = images(paths, num_workers=num_workers).feature_source()
    batches = [torch.tensor([number]) for number in range(SIZE)]
    outer = source.read(batches)
    found = [next(outer)]
    assert [int(batch.index) for batch in source.read(batches[::-1])] == list(range(SIZE))[::-1]
    found += outer
    assert [int(batch.index) for batch in found] == list(range(SIZE))
    assert [int(batch.index) for batch in source.read(batches[:2])] == [0, 1]
