"""Loaders of every kind: with `FrozenFeatureCache` a fit is the fit without it, or a line says why nothing is kept."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils.data import (
    DataLoader,
    Dataset,
    RandomSampler,
    Sampler,
    SubsetRandomSampler,
    TensorDataset,
    default_collate,
    get_worker_info,
)

from plt_nn import FrozenFeatureCache, Phase
from plt_nn.data.image_batches import ImageFiles, image_loader
from plt_nn.data.sampling import EpochBatches
from plt_nn.features.reading import rest
from tests.callbacks.cached_fits import Pictures, cache, fit

SIZE = 40
X = torch.rand(SIZE, 1, 6, 6, generator=torch.Generator().manual_seed(0))
Y = torch.randint(0, 3, (SIZE,), generator=torch.Generator().manual_seed(1))
HEAD = (Phase("head"),)
VAL = DataLoader(TensorDataset(X[:8], Y[:8]), 8)
KEPT = "Features of the training samples are kept"

pytestmark = pytest.mark.usefixtures("keeping_pays")


def run(features: FrozenFeatureCache | None, train: Any, module: LightningModule | None = None, **more: Any) -> Any:
    arguments: Any = {"max_epochs": 3, "limit_val_batches": 0, "seeds": False, "phases": HEAD}
    return fit(features, module, data=(train, VAL), **(arguments | more))[0]


class Samples(Dataset[Any]):
    """The samples by number."""

    def __len__(self) -> int:
        return SIZE

    def __getitem__(self, number: Any) -> Any:
        return X[number], Y[number]


class Corrupt(Samples):
    """The first one cannot be read."""

    def __getitem__(self, number: int) -> Any:
        if number == 0:
            raise OSError("sample 0 is corrupt")
        return super().__getitem__(number)


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


def tensors() -> TensorDataset:
    return TensorDataset(X.clone(), Y.clone())


LOADERS: dict[str, tuple[Callable[[], DataLoader[Any]], str]] = {
    "a corrupt sample is avoided": (
        lambda: DataLoader(Corrupt(), 8, sampler=SubsetRandomSampler(range(1, SIZE))),
        KEPT,
    ),
    "a corrupt sample is not named": (
        lambda: DataLoader(Corrupt(), 8, num_workers=1, batch_sampler=None, sampler=Avoiding()),
        "not kept: they cannot be read one by one (OSError: sample 0 is corrupt)",
    ),
    "no length": (
        lambda: DataLoader(Uncounted(), 8, sampler=SubsetRandomSampler(range(SIZE))),
        "not kept: nothing tells how many there are",
    ),
    "names": (lambda: DataLoader(Named(), 8, sampler=[f"s{number}" for number in range(SIZE)]), "give"),
    "keys of two parts": (lambda: DataLoader(Sized(), 8, sampler=[(number, 6) for number in range(SIZE)]), "give"),
    "names of files": (lambda: DataLoader(OfFiles(), 8), KEPT),
    "numbers of numpy": (lambda: DataLoader(Samples(), 8, sampler=list(np.arange(SIZE))), KEPT),
    "a subset by numpy": (lambda: DataLoader(Samples(), 8, sampler=SubsetRandomSampler(list(np.arange(SIZE)))), KEPT),
    "inputs of the batch": (
        lambda: DataLoader(tensors(), 8, collate_fn=less_their_mean),
        "not kept: their inputs depend on the batch that they are in",
    ),
    "whole batches": (
        lambda: DataLoader(Samples(), 8, collate_fn=of_whole_batches),
        "not kept: they cannot be read one by one (RuntimeError: shape",
    ),
    "opened by workers": (lambda: DataLoader(OpenedByWorkers(), 8, num_workers=1, worker_init_fn=open_file), KEPT),
    "batches of its own": (
        lambda: Standardized(tensors(), 8),
        "not kept: a Standardized makes its batches in a way of its own",
    ),
    "endless": (lambda: DataLoader(tensors(), 8, sampler=Endless()), "not kept: nothing tells how many there are"),
    "endless of a length": (lambda: DataLoader(tensors(), 8, sampler=EndlessOfLength()), KEPT),
    "endless for workers": (lambda: DataLoader(tensors(), 8, sampler=EndlessOfLength(), num_workers=1), KEPT),
    "targets of the batch": (lambda: DataLoader(tensors(), 8, shuffle=True, collate_fn=ranked), KEPT),
    "a generator of its own": (
        lambda: DataLoader(tensors(), 8, shuffle=True, generator=torch.Generator().manual_seed(5)),
        KEPT,
    ),
    "with replacement": (
        lambda: DataLoader(
            tensors(), 8, sampler=RandomSampler(range(SIZE), True, 64, torch.Generator().manual_seed(5))
        ),
        KEPT,
    ),
}


class Avoiding(Sampler[int]):
    """Leaves out a sample, and does not say so."""

    def __len__(self) -> int:
        return SIZE - 1

    def __iter__(self) -> Iterator[int]:
        return iter(range(1, SIZE))


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
    assert any(KEPT in line for line in info)


def test_large_targets_are_read_each_time(tmp_path: Path, info: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "MOST", 8 * SIZE - 1)
    reads: list[int] = []

    class Counted(Samples):
        def __getitem__(self, number: int) -> Any:
            reads.append(number)
            return super().__getitem__(number)

    plain = run(None, DataLoader(tensors(), 8, shuffle=True))
    assert run(cache(tmp_path), DataLoader(Counted(), 8, shuffle=True)) == plain
    assert len(reads) >= 3 * SIZE
    assert any(KEPT in line for line in info)


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


class Labelled(Samples):
    """Its labels and the scale of its inputs can be changed."""

    def __init__(self) -> None:
        self.labels, self.scale = Y.clone(), 1.0

    def __getitem__(self, number: int) -> Any:
        return self.scale * X[number], self.labels[number]


class Changes(Callback):
    """Changes a data set in each epoch but the first."""

    def __init__(self, change: Callable[[Any], None], data: Any) -> None:
        self.change, self.data = change, data

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch:
            self.change(self.data)


def new_labels(data: Labelled) -> None:
    data.labels = (data.labels + 1) % 3


def change_labels(data: Labelled) -> None:
    data.labels[3:9] = 0


def change_array(data: Labelled) -> None:
    data.labels.numpy()[:] = 0  # no version tells of it


def rescale(data: Labelled) -> None:
    data.scale += 1


def rescale_tensors(data: TensorDataset) -> None:
    data.tensors[0].mul_(2)


CHANGES: dict[str, tuple[Callable[[], Any], Callable[[Any], None]]] = {
    "other labels": (Labelled, new_labels),
    "labels in place": (Labelled, change_labels),
    "labels behind torch's back": (Labelled, change_array),
    "a scale": (Labelled, rescale),
    "tensors in place": (tensors, rescale_tensors),
}


@pytest.mark.parametrize(("name", "workers"), [*((name, 0) for name in CHANGES), ("a scale", 1)])
def test_data_that_change_between_epochs_are_seen(name: str, workers: int, tmp_path: Path, info: list[str]) -> None:
    make, change = CHANGES[name]

    def trained(features: FrozenFeatureCache | None) -> Any:
        data = make()
        loader = DataLoader(data, 8, num_workers=workers)
        return run(features, loader, callbacks=(Changes(change, data),))

    assert trained(cache(tmp_path)) == trained(None)
    assert any(KEPT in line for line in info)
    assert "Features of the training samples are not kept: the data have changed between epochs." in info


def test_what_was_kept_of_data_that_changed_within_an_epoch_is_gone(tmp_path: Path, info: list[str]) -> None:
    class Within(Callback):
        def __init__(self, data: TensorDataset) -> None:
            self.data = data

        def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *arguments: Any) -> None:
            if trainer.global_step == 2:
                self.data.tensors[0].mul_(2)
            if trainer.global_step == 5:
                raise RuntimeError("out of order")

    data = tensors()
    with pytest.raises(RuntimeError, match="out of order"):
        run(cache(tmp_path), DataLoader(data, 8), callbacks=(Within(data),))
    assert any(KEPT in line for line in info)
    assert run(cache(tmp_path), DataLoader(tensors(), 8)) == run(None, DataLoader(tensors(), 8))


def test_a_data_set_that_notes_what_is_read_has_not_changed(tmp_path: Path, info: list[str]) -> None:
    class Noting(Samples):
        def __init__(self) -> None:
            self.read, self.count, self.held = set[int](), 0, dict[int, Any]()

        def __getitem__(self, number: int) -> Any:
            self.read.add(number)
            self.count += 1
            return self.held.setdefault(number, super().__getitem__(number))

    assert run(cache(tmp_path), DataLoader(Noting(), 8)) == run(None, DataLoader(Noting(), 8))
    assert not any("not kept" in line for line in info)


def test_a_data_set_that_workers_read_may_be_read_here_as_well(tmp_path: Path, info: list[str]) -> None:
    class Lazy(Samples):
        def __init__(self) -> None:
            self.file: Any = None
            self.count = 0

        def __getitem__(self, number: int) -> Any:
            self.file = self.file or object()
            self.count += 1
            return super().__getitem__(number)

    class Draws(Callback):
        def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            data[0]

    data = Lazy()
    run(cache(tmp_path), DataLoader(data, 8, num_workers=1), callbacks=(Draws(),))
    assert data.count == 3
    assert any(KEPT in line for line in info)
    assert not any("not kept" in line for line in info)


class WithinAnEpoch(Callback):
    """Reads some batches of the training loader in the middle of an epoch."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx == 1 and trainer.current_epoch == 0:
            for number, _ in enumerate(trainer.train_dataloader or ()):
                if number == 2:
                    break


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loop_over_the_loader_within_an_epoch(workers: int, tmp_path: Path, info: list[str]) -> None:
    def trained(features: FrozenFeatureCache | None, callbacks: tuple[Callback, ...]) -> Any:
        return run(features, DataLoader(tensors(), 8, shuffle=True, num_workers=workers), callbacks=callbacks)

    assert trained(cache(tmp_path), (WithinAnEpoch(),)) == trained(None, (WithinAnEpoch(),))
    assert trained(cache(tmp_path), ()) == trained(None, ()), "what was kept is right"
    assert any("40 rows of earlier" in line for line in info)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loop_over_our_images_within_an_epoch(workers: int, tmp_path: Path) -> None:
    from torchvision.transforms import v2

    from plt_nn.backbones.image_transform import ImageTransform

    to_tensor = v2.Compose([v2.Grayscale(), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    paths = [tmp_path / f"{number}.png" for number in range(24)]
    for path, x in zip(paths, X, strict=False):
        v2.functional.to_pil_image(x).save(path)

    def trained(features: FrozenFeatureCache | None, *callbacks: Callback, num_workers: int = workers) -> Any:
        files = ImageFiles(paths, torch.arange(24) % 3, ImageTransform((), to_tensor), 7)
        loader = image_loader(files, EpochBatches(24, 4, shuffle=True, seed=3), num_workers)
        return run(features, loader, callbacks=callbacks)

    expected = trained(None, num_workers=0)
    assert trained(cache(tmp_path), WithinAnEpoch()) == expected
    assert trained(cache(tmp_path)) == expected, "what was kept is right"


def test_several_loaders_at_once_are_left_alone(tmp_path: Path, info: list[str]) -> None:
    class Two(Pictures):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return super().training_step(batch["a"], batch_idx) + super().training_step(batch["b"], batch_idx)

    def both() -> dict[str, Any]:
        return {name: DataLoader(tensors(), 8, shuffle=True) for name in "ab"}

    assert run(cache(tmp_path), both(), Two()) == run(None, both(), Two())
    assert info == ["Features of the training samples are not kept: several loaders are read at once."]


class NoSamples(Samples):
    """An empty one."""

    def __len__(self) -> int:
        return 0


@pytest.mark.parametrize("is_first_kept", [False, True])
def test_several_validation_loaders_one_after_the_other(is_first_kept: bool, tmp_path: Path, info: list[str]) -> None:
    class Several(Pictures):
        def validation_step(self, batch: list[Tensor], batch_idx: int, dataloader_idx: int = 0) -> None:
            loss = super().training_step(batch, batch_idx)
            self.log(
                "val_loss" if dataloader_idx == 1 else f"val_loss_{dataloader_idx}", loss, add_dataloader_idx=False
            )

    def several() -> Any:
        # The numbers that it draws are missed by those that come after.
        first, second = (DataLoader(tensors(), 8, shuffle=True) for _ in range(2))
        if not is_first_kept:
            first = DataLoader(Corrupt(), 8, sampler=Avoiding())
        return [first, second, DataLoader(NoSamples(), 8)]

    def trained(features: FrozenFeatureCache | None) -> Any:
        train = DataLoader(tensors(), 8, shuffle=True)
        arguments: Any = {"seeds": False, "phases": HEAD, "max_epochs": 3, "num_sanity_val_steps": 0}
        return fit(features, Several(), data=(train, several()), **arguments)[0]

    assert trained(cache(tmp_path)) == trained(None)
    assert any("Features of the validation samples are kept" in line for line in info)
    assert "Features of the validation samples are not kept: there are none." in info


def test_views_are_named_where_there_can_be_some(tmp_path: Path, info: list[str]) -> None:
    class AtRandom(Samples):
        def __getitem__(self, number: int) -> Any:
            return torch.rand(1, 6, 6), Y[number]

    run(cache(tmp_path, views=2), DataLoader(AtRandom(), 8))
    assert "Features of the training samples are not kept: they are read at random." in info


def test_a_generator_of_the_data_set_draws_nothing_for_us(tmp_path: Path, info: list[str]) -> None:
    class Drawing(Samples):
        def __init__(self) -> None:
            self.generator = torch.Generator().manual_seed(3)

        def __getitem__(self, number: int) -> Any:
            return torch.rand(1, 6, 6, generator=self.generator), Y[number]

    assert run(cache(tmp_path), DataLoader(Drawing(), 8)) == run(None, DataLoader(Drawing(), 8))
    assert any("they are read at random" in line for line in info)


@pytest.mark.parametrize("shuffle", [False, True])
def test_loaders_that_are_made_anew_in_each_epoch(shuffle: bool, tmp_path: Path, info: list[str]) -> None:
    class Reloading(Pictures):
        def train_dataloader(self) -> DataLoader[Any]:
            return DataLoader(tensors(), 8, shuffle=shuffle)

        def val_dataloader(self) -> DataLoader[Any]:
            return DataLoader(tensors(), 8, shuffle=shuffle)

    class Counts(Callback):
        def __init__(self, features: FrozenFeatureCache | None) -> None:
            self.features = features

        def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            for role in self.features._roles.values() if self.features else ():
                assert len(role._wrapped) <= 1, "those of before are let go"
                assert role.combined in (None, trainer.fit_loop._combined_loader) or role.name == "validation"

    def trained(features: FrozenFeatureCache | None) -> Any:
        arguments: Any = {"seeds": False, "phases": HEAD, "max_epochs": 4, "data": (None, None)}
        more: Any = {"reload_dataloaders_every_n_epochs": 1, "callbacks": (Counts(features),)}
        return fit(features, Reloading(), **arguments, **more)[0]

    assert trained(cache(tmp_path)) == trained(None)
    assert any("40 rows of earlier" in line for line in info)
