"""Who else reads a loader whose features are cached, and several of them: a fit is the fit without features."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils.data import (
    DataLoader,
)

from plt_nn import FrozenFeatureCache
from plt_nn.data.image_batches import image_loader
from plt_nn.data.image_files import ImageFiles
from plt_nn.data.sampling import EpochBatches
from tests.callbacks.feature_cache.cached_fits import Pictures, cache, fit
from tests.callbacks.feature_cache.small_samples import HEAD, Avoiding, Corrupt, Samples, X, Y, run, tensors

pytestmark = pytest.mark.usefixtures("caching_pays")


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
    if workers == 0:
        assert trained(cache(tmp_path), ()) == trained(None, ()), "what was cached is right"
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
    assert trained(cache(tmp_path)) == expected, "what was cached is right"


def test_several_loaders_at_once_are_left_alone(tmp_path: Path, info: list[str]) -> None:
    class Two(Pictures):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return super().training_step(batch["a"], batch_idx) + super().training_step(batch["b"], batch_idx)

    def both() -> dict[str, Any]:
        return {name: DataLoader(tensors(), 8, shuffle=True) for name in "ab"}

    assert run(cache(tmp_path), both(), Two()) == run(None, both(), Two())
    assert info == ["Features of the training samples are not cached: several loaders are read at once."]


class NoSamples(Samples):
    """An empty one."""

    def __len__(self) -> int:
        return 0


@pytest.mark.parametrize("is_first_cached", [False, True])
def test_several_validation_loaders_one_after_the_other(is_first_cached: bool, tmp_path: Path, info: list[str]) -> None:
    class Several(Pictures):
        def validation_step(self, batch: list[Tensor], batch_idx: int, dataloader_idx: int = 0) -> None:
            loss = super().training_step(batch, batch_idx)
            self.log(
                "val_loss" if dataloader_idx == 1 else f"val_loss_{dataloader_idx}", loss, add_dataloader_idx=False
            )

    def several() -> Any:
        # The numbers that it draws are missed by those that come after.
        first, second = (DataLoader(tensors(), 8, shuffle=True) for _ in range(2))
        if not is_first_cached:
            first = DataLoader(Corrupt(), 8, sampler=Avoiding())
        return [first, second, DataLoader(NoSamples(), 8)]

    def trained(features: FrozenFeatureCache | None) -> Any:
        train = DataLoader(tensors(), 8, shuffle=True)
        arguments: Any = {"seeds": False, "phases": HEAD, "max_epochs": 3, "num_sanity_val_steps": 0}
        return fit(features, Several(), data=(train, several()), **arguments)[0]

    assert trained(cache(tmp_path)) == trained(None)
    assert any("Features of the validation samples are cached" in line for line in info)
    assert "Features of the validation samples are not cached: there are none." in info


def test_views_are_named_where_there_can_be_some(tmp_path: Path, info: list[str]) -> None:
    class AtRandom(Samples):
        def __getitem__(self, number: int) -> Any:
            return torch.rand(1, 6, 6), Y[number]

    run(cache(tmp_path, views=2), DataLoader(AtRandom(), 8))
    assert "Features of the training samples are not cached: they are read at random." in info


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
            for split in self.features._splits.values() if self.features else ():
                assert len(split._replaced) <= 1, "those of before are dropped"
                assert split.combined in (None, trainer.fit_loop._combined_loader) or split.name == "validation"

    def trained(features: FrozenFeatureCache | None) -> Any:
        arguments: Any = {"seeds": False, "phases": HEAD, "max_epochs": 4, "data": (None, None)}
        more: Any = {"reload_dataloaders_every_n_epochs": 1, "callbacks": (Counts(features),)}
        return fit(features, Reloading(), **arguments, **more)[0]

    assert trained(cache(tmp_path)) == trained(None)
    assert any("40 rows of earlier" in line for line in info)
