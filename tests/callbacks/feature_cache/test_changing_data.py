"""Data that change while features of them are cached: it is noticed, and nothing that is stale is used."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.utils.data import (
    DataLoader,
    TensorDataset,
)

from plt_nn import FrozenFeatureCache
from tests.callbacks.feature_cache.cached_fits import cache
from tests.callbacks.feature_cache.small_samples import CACHED, Samples, X, Y, run, tensors

pytestmark = pytest.mark.usefixtures("caching_pays")


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
    assert any(CACHED in line for line in info)
    assert "Features of the training samples are not cached: the data have changed between epochs." in info


def test_what_was_cached_of_data_that_changed_within_an_epoch_is_gone(tmp_path: Path, info: list[str]) -> None:
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
    assert any(CACHED in line for line in info)
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
    assert not any("not cached" in line for line in info)


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
    assert any(CACHED in line for line in info)
    assert not any("not cached" in line for line in info)
