from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor
from torchvision.transforms import v2

from plt_nn.backbones.image_transform import ImageTransform
from plt_nn.data import EpochBatches, ImageFolderData
from plt_nn.data.image_batches import image_loader
from plt_nn.data.image_files import ImageFiles
from plt_nn.data.workers import default_num_workers
from plt_nn.errors import DataError

to_tensor = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.ToPureTensor()])
random_crop = v2.Compose([v2.RandomCrop(8), to_tensor])


@pytest.fixture
def files(tmp_path: Path, picture: Callable[..., Path]) -> Callable[..., ImageFiles]:
    paths = [picture(tmp_path / f"{number}.png", shade=20 * number) for number in range(10)]

    def build(transform: Callable[[Any], Tensor] = to_tensor, seed: int = 0) -> ImageFiles:
        return ImageFiles(paths, torch.arange(10), ImageTransform((), transform), seed)

    return build


def test_a_batch_holds_the_images_drawn(files: Callable[..., ImageFiles]) -> None:
    loader = image_loader(files(), EpochBatches(10, 4, shuffle=True), num_workers=0)
    batches = list(loader)
    assert [len(batch.y) for batch in batches] == [4, 4, 2]
    assert len(loader) == 3
    for x, y, index in batches:
        assert isinstance(x, Tensor)
        assert x.shape[1:] == (3, 16, 24)
        assert torch.equal(y, index)
        assert torch.allclose(x[:, 2, 0, 0], 20 * index / 255)  # the shade of blue is the picture's number


def test_random_transforms_depend_on_seed_epoch_and_sample_alone(files: Callable[..., ImageFiles]) -> None:
    def images(epoch: int, seed: int = 0, workers: int = 0, world: int = 1) -> Tensor:
        rows = torch.zeros(10, 3, 8, 8)
        for rank in range(world):
            sampler = EpochBatches(10, 4, rank, world, shuffle=True)
            sampler.set_epoch(epoch)
            for x, _, index in image_loader(files(random_crop, seed), sampler, workers):
                assert isinstance(x, Tensor)
                rows[index] = x
        return rows

    torch.manual_seed(1)
    first = images(epoch=2)
    torch.manual_seed(2)
    assert torch.equal(first, images(epoch=2, workers=2))
    assert torch.equal(first, images(epoch=2, world=2))
    assert not torch.equal(first, images(epoch=3))
    assert not torch.equal(first, images(epoch=2, seed=1))


@pytest.mark.parametrize("workers", [0, 1])
def test_reading_leaves_the_global_random_numbers_alone(files: Callable[..., ImageFiles], workers: int) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    list(image_loader(files(random_crop), EpochBatches(10, 5, shuffle=True), workers))
    assert torch.equal(torch.rand(3), expected)


def test_a_file_that_is_gone_is_named(files: Callable[..., ImageFiles]) -> None:
    images = files()
    images.paths[3].unlink()
    with pytest.raises(DataError, match=r"3\.png: .*No such file"):
        list(image_loader(images, EpochBatches(10, 5), num_workers=0))


@pytest.mark.parametrize("steps", [4, 6])  # in the middle and at the end of the second epoch of 3
def test_a_resumed_run_reads_what_the_whole_run_would_have_with_workers(
    trainer: Callable[..., Trainer],
    recorder: Callable[..., Any],
    class_folder: Callable[..., Path],
    tmp_path: Path,
    steps: int,
) -> None:
    root = class_folder(tmp_path / "pictures", ant=4, bee=4)

    def fit(path: Path | None = None, **options: Any) -> Any:
        module = recorder()
        data = ImageFolderData(root, batch_size=2, image_size=8, augment=[v2.RandomCrop(8)], num_workers=1)
        arguments = {"max_epochs": 3, "limit_val_batches": 0} | options
        trainer(**arguments).fit(module, data, ckpt_path=path, weights_only=True if path else None)
        return module

    saver = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=steps, save_top_k=-1)
    whole = fit()
    fit(max_steps=steps, enable_checkpointing=True, callbacks=[saver])
    resumed = fit(tmp_path / f"step={steps}.ckpt")
    assert len(whole.seen["train"]) == 9
    assert resumed.indices("train") == whole.indices("train")[steps:]
    assert resumed.scale.item() == whole.scale.item()  # the random crops were the same, too


def test_workers_are_the_cores_of_each_process(trainer: Callable[..., Trainer]) -> None:
    alone = default_num_workers(None)
    assert 1 <= alone <= 8
    assert default_num_workers(trainer(devices=64)) == 1
