"""What may be other data has another identity, and what nobody can tell has none."""

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Subset, TensorDataset
from torchvision import transforms, tv_tensors
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from plt_nn.fingerprint.identity import dataset_identity, files_identity, object_identity
from tests.fingerprint.user_code import load

X = torch.arange(12.0).reshape(6, 2)


class Brighter(nn.Module):
    """Its text does not tell the factor."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


class Doubled(TensorDataset):
    """Gives something else than its tensors."""

    def __getitem__(self, index: Any) -> Any:
        return tuple(2 * part for part in super().__getitem__(index))  # type: ignore[no-untyped-call]


def halve(x: Tensor, by: float = 2.0) -> Tensor:
    return x / by


def third(x: Tensor) -> Tensor:
    return x / 3


def scaled(by: float) -> Callable[[Tensor], Tensor]:
    return lambda x: x * by


DIFFERENT: list[Any] = [
    None,
    Brighter(1.0),
    Brighter(2.0),
    halve,
    third,
    partial(halve, by=3.0),
    partial(halve, by=4.0),
    transforms.Lambda(halve),
    transforms.Lambda(third),
    scaled(2.0),
    scaled(3.0),
    transforms.Compose([transforms.Resize(32), transforms.ToTensor()]),
    transforms.Compose([transforms.Resize(33), transforms.ToTensor()]),
    v2.Compose([v2.Resize(32), v2.ToDtype(torch.float32, scale=True)]),
    v2.Compose([v2.Resize(32), v2.ToDtype(torch.float16, scale=True)]),
    transforms.LinearTransformation(torch.eye(3), torch.zeros(3)),
    transforms.LinearTransformation(torch.eye(3), torch.ones(3)),
    {"a": 1},
    {"a": {2, 3}},
    Brighter(1.0).forward,
]


def test_what_does_something_else_has_another_identity() -> None:
    found = [object_identity(value) for value in DIFFERENT]
    assert None not in found
    assert len(set(found)) == len(DIFFERENT)
    assert [object_identity(value) for value in DIFFERENT] == found


@pytest.mark.parametrize(
    "value",
    [iter([1]), transforms.Lambda(partial(map, iter([1]))), sys.__stdout__],
    ids=["iterator", "Lambda", "file"],
)
def test_what_nobody_can_tell_has_no_identity(value: Any) -> None:
    assert object_identity(value) is None
    assert object_identity([value]) is None


COLLATE = {
    "a constant": "MEAN = AAA\ndef collate(samples): return samples[0] - MEAN",
    "a helper": "def shift(x): return x - AAA\ndef collate(samples): return shift(samples[0])",
    "a static method": "class Collate:\n    @staticmethod\n    def f(x): return x - AAA\ncollate = Collate().f",
    "an object": "class Collate:\n    def __call__(self, x): return x - AAA\ncollate = Collate()",
    "a lambda": "collate = lambda samples: samples[0] - AAA",
}


@pytest.mark.parametrize("name", COLLATE)
def test_code_counts_wherever_it_is(name: str) -> None:
    first, same, other = (object_identity(load(COLLATE[name].replace("AAA", n)).collate) for n in ("1", "1", "2"))
    assert first == same is not None
    assert other not in (first, None)


def test_tensors_are_told_by_content_shape_and_dtype() -> None:
    values = [X, X + 1, X.reshape(2, 6), X.to(torch.bfloat16), X.long(), X.T.contiguous()]
    assert len({object_identity(value) for value in values}) == len(values)
    assert object_identity(X.T) == object_identity(X.T.contiguous())
    assert object_identity((X, X)) != object_identity((X,))


@pytest.mark.parametrize("size", [2**20 - 1, 2**20, 2**20 + 1, 3 * 2**20])
def test_every_byte_of_a_large_tensor_or_array_counts(size: int) -> None:
    large = torch.zeros(size, dtype=torch.uint8)
    seen = {object_identity(large), object_identity(large.numpy()), object_identity(large[1:])}
    for place in (0, size // 2, size - 1):
        other = large.clone()
        other[place] = 1
        seen |= {object_identity(other), object_identity(other.numpy())}
    assert len(seen) == 9
    assert object_identity(large.clone()) == object_identity(large)


def test_data_sets_are_told_and_subclasses_are_unknown() -> None:
    data = TensorDataset(X)
    found = [
        dataset_identity(value) for value in (data, Subset(data, [0, 1]), Subset(data, [1, 0]), TensorDataset(X[1:]))
    ]
    assert None not in found
    assert len(set(found)) == 4
    assert dataset_identity(Subset(TensorDataset(X.clone()), [0, 1])) == found[1]
    assert dataset_identity(Doubled(X)) is None
    assert dataset_identity(Subset(Doubled(X), [0])) is None
    assert dataset_identity([1, 2]) is None


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(b"not looked at")
    return tmp_path


def flat(path: str) -> int:
    return len(path)


CHANGES: dict[str, Callable[[Path], Any]] = {
    "a transform": lambda root: ImageFolder(str(root), Brighter(2.0)),
    "another transform": lambda root: ImageFolder(str(root), Brighter(3.0)),
    "a loader": lambda root: ImageFolder(str(root), loader=flat),
}


def test_folders_are_told_by_files_transforms_and_readers(images: Path) -> None:
    first = dataset_identity(ImageFolder(str(images)))
    assert first is not None
    assert dataset_identity(ImageFolder(str(images))) == first
    others = {dataset_identity(change(images)) for change in CHANGES.values()}
    assert len(others | {first, None}) == len(CHANGES) + 2
    assert dataset_identity(ImageFolder(str(images), iter([1]))) is None

    class Own(ImageFolder):  # type: ignore[misc]
        pass

    assert dataset_identity(Own(str(images))) is None
    os.utime(images / "a" / "1.png", (1e9, 1e9))
    assert dataset_identity(ImageFolder(str(images))) != first


def test_files_are_told_by_name_size_and_time(images: Path) -> None:
    paths = [images / "a" / "1.png", images / "b" / "1.png"]
    first = files_identity(paths)
    assert files_identity(paths[::-1]) != first
    paths[0].write_bytes(b"longer than before, by far")
    assert files_identity(paths) != first


def test_tensors_of_a_class_of_their_own_are_told() -> None:
    plain, image, mask = (dataset_identity(TensorDataset(x)) for x in (X, tv_tensors.Image(X), tv_tensors.Mask(X)))
    assert None not in {plain, image, mask}
    assert len({plain, image, mask}) == 3
    assert dataset_identity(TensorDataset(tv_tensors.Image(X))) == image
