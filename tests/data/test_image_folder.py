from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import v2

from plt_nn.backbones import Preprocessing, create_backbone
from plt_nn.data import ImageFolderData
from plt_nn.data.image_batches import ImageBatches
from plt_nn.errors import ConfigError, DataError

Folder = Callable[..., Path]


@pytest.fixture
def root(tmp_path: Path, class_folder: Folder) -> Path:
    """Two classes of ten pictures."""
    return class_folder(tmp_path / "pictures", ant=10, bee=10)


def small(root: Path, **arguments: Any) -> ImageFolderData:
    return ImageFolderData(root, **{"image_size": 8, "num_workers": 0} | arguments)


def test_a_folder_is_trained_validated_tested_and_predicted(
    root: Path, trainer: Callable[..., Trainer], recorder: Callable[..., Any]
) -> None:
    module, runner = recorder(), trainer()
    data = small(root, batch_size=5, test_fraction=0.3)
    runner.fit(module, data)
    assert data.class_counts == {"train": [5, 5], "val": [2, 2]}
    runner.test(module, data, verbose=False)
    runner.predict(module, data)
    assert [len(batch) for batch in module.indices("train")] == [5, 5]
    assert sorted(module.read("train")) == list(range(10))
    assert module.read("val") == list(range(4))
    assert module.read("predict") == module.read("test") == list(range(6))
    assert all(batch.x.shape[1:] == (3, 8, 8) for batches in module.seen.values() for batch in batches)
    assert (data.num_classes, data.class_names) == (2, ["ant", "bee"])
    assert data.paths["test"][0].parent.name == "ant"
    assert data.describe() == {
        "root": str(root),
        "classes": 2,
        "image_size": 8,
        "bad_images": 0,
        "train_samples": 10,
        "val_samples": 4,
        "test_samples": 6,
    }


def test_the_pixels_are_those_of_the_preprocessing(root: Path) -> None:
    preprocessing = Preprocessing(size=12, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    data = ImageFolderData(root, preprocessing=preprocessing, augment=[v2.Grayscale(3)], num_workers=0)
    data.setup("fit")
    grey = v2.Grayscale(3)
    for name, loader in (("train", data.train_dataloader()), ("val", data.val_dataloader())):
        assert not isinstance(loader, list)
        batch = next(iter(loader))
        image = Image.open(data.paths[name][int(batch.index[0])]).convert("RGB")
        expected = preprocessing.evaluation_transform()(grey(image) if name == "train" else image)
        assert torch.equal(batch.x[0], expected)


def test_the_preprocessing_is_that_of_the_backbone(
    root: Path, trainer: Callable[..., Trainer], recorder: Callable[..., Any]
) -> None:
    net = create_backbone("timm/tf_efficientnet_lite0", pretrained=False, num_classes=2)
    data = small(root, image_size=None)
    trainer().validate(recorder(net), data, verbose=False)
    assert data.preprocessing_used.mean == (0.5, 0.5, 0.5)
    assert data.preprocessing_used.size == 224
    data.image_size = 32
    trainer().validate(recorder(net), data, verbose=False)
    assert data.preprocessing_used.size == 32
    trainer().validate(recorder(nn.Identity()), data, verbose=False)
    assert data.preprocessing_used == Preprocessing().with_size(32)


@pytest.fixture
def damaged(root: Path) -> dict[str, Path]:
    """Three files of `root` are damaged; those of them that would be validated on are among them."""
    files = {name: root / "ant" / name for name in ("short.jpg", "empty.jpg", "text.jpg")}
    whole = root / "bee" / "whole.jpg"
    Image.linear_gradient("L").save(whole)
    files["short.jpg"].write_bytes(whole.read_bytes()[:-100])
    files["empty.jpg"].touch()
    files["text.jpg"].write_text("words")
    return files


def test_bad_images_are_reported_before_training_and_left_out(
    root: Path, damaged: dict[str, Path], trainer: Callable[..., Trainer], recorder: Callable[..., Any]
) -> None:
    module, data = recorder(), small(root)
    with pytest.warns(UserWarning, match="3 of 24 images in .* cannot be read and are left out") as caught:
        trainer(num_sanity_val_steps=1).fit(module, data)
    (warning,) = [str(entry.message) for entry in caught if "left out" in str(entry.message)]
    for path, reason in zip(damaged.values(), ("truncated", "the file is empty", "not an image"), strict=True):
        assert f"  - {path}: " in warning
        assert any(str(path) in line and reason in line for line in warning.splitlines())
    assert not set(damaged.values()) & {path for paths in data.paths.values() for path in paths}
    assert data.describe()["bad_images"] == 3
    assert sum(sum(counts) for counts in data.class_counts.values()) == 21
    trainer().validate(module, data, verbose=False)  # no second check, no second report


def test_bad_images_are_an_error_on_request(root: Path, damaged: dict[str, Path]) -> None:
    with pytest.raises(DataError, match=r"3 of 24 images in .* cannot be used:") as caught:
        small(root, on_bad_image="error").setup("fit")
    assert all(f"  - {path}: " in str(caught.value) for path in damaged.values())


def test_only_what_the_stage_needs_is_checked(tmp_path: Path, class_folder: Folder) -> None:
    for split in ("train", "val", "test"):
        class_folder(tmp_path / split, ant=2, bee=2)
    (tmp_path / "test" / "ant" / "00.png").write_text("words")
    data = small(tmp_path, on_bad_image="error")
    data.setup("fit")
    assert data.class_counts == {"train": [2, 2], "val": [2, 2]}
    with pytest.raises(DataError, match=r"1 of 4 images .*\n  - .*test/ant/00\.png"):
        data.setup("test")


def test_a_class_without_a_readable_image_is_an_error(tmp_path: Path, class_folder: Folder) -> None:
    class_folder(tmp_path / "train", ant=2, bee=1)
    class_folder(tmp_path / "val", ant=1, bee=1)
    (tmp_path / "train" / "bee" / "00.png").write_bytes(b"")
    for name in ("ant", "bee"):
        (tmp_path / "val" / name / "00.png").write_bytes(b"")
    with (
        pytest.warns(UserWarning, match="3 of 5 images"),
        pytest.raises(DataError, match="none of its val images can be read") as caught,
    ):
        small(tmp_path).setup("fit")
    assert "no training image of the class(es) 'bee' can be read" in str(caught.value)


def test_what_is_unusual_is_a_warning(tmp_path: Path, class_folder: Folder) -> None:
    class_folder(tmp_path / "train", ant=2, bee=2)
    class_folder(tmp_path / "val", ant=2)
    with pytest.warns(UserWarning, match="no image of the class"):
        small(tmp_path).setup("fit")


def test_without_the_split_asked_for(root: Path, trainer: Callable[..., Trainer], recorder: Callable[..., Any]) -> None:
    module, data = recorder(), small(root, val_fraction=0.0)
    trainer().fit(module, data)
    assert module.seen["val"] == []
    with pytest.raises(DataError, match="has no test images: add a folder test/ or set test_fraction above 0"):
        trainer().test(module, data)


def test_every_kind_of_image_trains(root: Path, trainer: Callable[..., Trainer], recorder: Callable[..., Any]) -> None:
    grey = Image.linear_gradient("L")
    for mode, name in [("L", "a.png"), ("P", "b.png"), ("RGBA", "c.png"), ("CMYK", "d.jpg"), ("I;16", "e.png")]:
        for group in ("ant", "bee"):
            grey.convert(mode).save(root / group / name)
    module, data = recorder(), small(root, on_bad_image="error", batch_size=8)
    trainer().fit(module, data)
    shapes = {tuple(batch.x.shape[1:]) for batch in module.seen["train"] + module.seen["val"]}
    assert shapes == {(3, 8, 8)}
    assert sum(len(batch) for batch in module.indices("train")) == 24


def test_overfitting_repeats_the_same_batches(
    root: Path, trainer: Callable[..., Trainer], recorder: Callable[..., Any]
) -> None:
    module = recorder()
    trainer(max_epochs=2, overfit_batches=2).fit(module, small(root, batch_size=4, augment=[]))
    first, second, *again = module.indices("train")
    assert (len(first), len(second)) == (4, 4)
    assert again == [first, second]


def test_photographs_train(photos: Path, trainer: Callable[..., Trainer], recorder: Callable[..., Any]) -> None:
    module, data = recorder(), ImageFolderData(photos, image_size=32, on_bad_image="error")
    trainer(limit_train_batches=2).fit(module, data)
    assert data.class_counts == {"train": [124, 121], "val": [70, 83]}
    assert len(module.seen["val"]) == 5
    assert isinstance(module.seen["train"][0].x, Tensor)
    assert module.seen["train"][0].x.shape == (32, 3, 32, 32)
    assert module.seen["train"][0].x.std() > 0.5


def test_a_smaller_crop_cuts_out_the_middle(root: Path) -> None:
    whole, middle = small(root, crop_pct=1.0), small(root, crop_pct=0.5)
    for data in (whole, middle):
        data.setup("fit")
    assert (whole.preprocessing_used.crop_pct, middle.preprocessing_used.crop_pct) == (1.0, 0.5)
    first, second = (next(iter(cast("ImageBatches", data.val_dataloader()))) for data in (whole, middle))
    assert isinstance(first.x, Tensor)
    assert isinstance(second.x, Tensor)
    assert first.x.shape == second.x.shape
    assert not torch.equal(first.x, second.x)


@pytest.mark.parametrize("crop_pct", [0.0, -1.0, 1.5])
def test_a_crop_out_of_range_is_refused(root: Path, crop_pct: float) -> None:
    with pytest.raises(ConfigError, match="expected a share of the shorter side"):
        small(root, crop_pct=crop_pct)
