"""Each image file is decoded once; what the net sees is the same."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor
from torchvision.transforms import v2

from plt_nn.backbones import Preprocessing
from plt_nn.data import ImageFolderData, image_files
from plt_nn.data.decoded_splits import DecodedSplits
from plt_nn.errors import ConfigError
from plt_nn.features.feature_folder import entries
from plt_nn.inference.images import read_image

Folder = Callable[..., Path]


@pytest.fixture
def root(tmp_path: Path, class_folder: Folder) -> Path:
    """Two classes of ten pictures."""
    return class_folder(tmp_path / "pictures", ant=10, bee=10)


def pixels(data: ImageFolderData, runner: Trainer, module: Any) -> list[Tensor]:
    """What a fit of three epochs sees."""
    runner.fit(module, data)
    return [batch.x for stage in ("train", "val") for batch in module.seen[stage]]


AUGMENTS: list[Any] = [None, [], [v2.Resize(20), v2.RandomCrop(8)], [v2.RandomHorizontalFlip()]]


@pytest.mark.parametrize("where", ["memory", "files"])
@pytest.mark.parametrize(
    ("augment", "num_workers"),
    [*((augment, 0) for augment in AUGMENTS), (None, 2)],
    ids=["photographs", "none", "resized first", "flip", "workers"],
)
def test_the_net_sees_the_same_and_each_file_is_decoded_once(
    root: Path,
    trainer: Callable[..., Trainer],
    recorder: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    augment: Any,
    num_workers: int,
) -> None:
    monkeypatch.chdir(root.parent)
    fits: dict[str | None, list[Tensor]] = {}
    decoded: list[Path] = []

    def counted(path: Path) -> Any:
        decoded.append(path)
        return read_image(path)

    for kept in (None, where):
        data: Any = ImageFolderData(root, image_size=8, num_workers=num_workers, augment=augment, keep_decoded=kept)  # type: ignore[arg-type]
        decoded.clear()
        with patch.object(image_files, "read_image", counted):
            fits[kept] = pixels(data, trainer(max_epochs=3), recorder())
    assert len(fits[None]) == len(fits[where]) > 0
    assert all(torch.equal(one, other) for one, other in zip(fits[None], fits[where], strict=True))
    if num_workers == 0:  # what workers decode is not seen here
        assert len(decoded) == len(set(decoded)) == 20
    else:
        assert (
            data._decoded.images(
                "train", data.paths["train"], data.train_dataloader().files.transform, Path("mlruns", "features")
            ).count()
            == 16
        )


def test_a_later_run_decodes_nothing(
    root: Path, trainer: Callable[..., Trainer], recorder: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root.parent)
    for expected in (20, 0):
        data = ImageFolderData(root, image_size=8, num_workers=0, keep_decoded="files")
        with patch.object(image_files, "read_image", side_effect=read_image) as reader:
            pixels(data, trainer(), recorder())
        assert reader.call_count == expected
    found = entries(Path("mlruns", "features"))
    assert [(entry.about["net"], entry.about["samples"], entry.rows()) for entry in found] == [
        ("decoded images", "train", 16),
        ("decoded images", "val", 4),
    ]


def test_a_changed_file_is_decoded_again(
    root: Path,
    trainer: Callable[..., Trainer],
    recorder: Callable[..., Any],
    picture: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(root.parent)
    seen = []
    for shade in (0, 250):
        picture(root / "ant" / "0.png", shade=shade)
        data = ImageFolderData(root, image_size=8, num_workers=0, augment=[], keep_decoded="files", batch_size=100)
        seen.append(pixels(data, trainer(), recorder()))
    assert not all(torch.equal(one, other) for one, other in zip(*seen, strict=True))


def test_what_is_too_much_is_decoded_each_time_and_said(
    tmp_path: Path, trainer: Callable[..., Trainer], recorder: Callable[..., Any], picture: Any
) -> None:
    for name in "ab":
        for number in range(4):
            (tmp_path / name).mkdir(exist_ok=True)
            picture(tmp_path / name / f"{number}.png", size=(400, 300), shade=number)
    plain = pixels(ImageFolderData(tmp_path, image_size=8, num_workers=0), trainer(max_epochs=2), recorder())
    data = ImageFolderData(tmp_path, image_size=8, num_workers=0, keep_decoded="memory", decoded_megabytes=1)
    with (
        pytest.warns(UserWarning, match="resize_first"),
        patch.object(image_files, "read_image", side_effect=read_image) as reader,
    ):
        kept = pixels(data, trainer(max_epochs=2), recorder())
    assert all(torch.equal(one, other) for one, other in zip(plain, kept, strict=True))
    assert reader.call_count == 8 + 6 - 2  # 360 KB each: two of six training images fit in; the two of validation do


def test_without_a_place_training_goes_on(
    root: Path, trainer: Callable[..., Trainer], recorder: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root.parent)
    Path("mlruns").write_text("no folder")
    data = ImageFolderData(root, image_size=8, num_workers=0, keep_decoded="files")
    with pytest.warns(UserWarning, match="are not cached"):
        assert pixels(data, trainer(), recorder())


def test_larger_images_are_made_smaller_first(picture: Any, tmp_path: Path) -> None:
    large, small = picture(tmp_path / "large.png", size=(60, 40)), picture(tmp_path / "small.png", size=(14, 12))
    transform = Preprocessing(8).training_transform(resize_first=20)
    assert transform.led(read_image(large)).size == (30, 20)
    assert transform.led(read_image(small)).size == (14, 12)
    assert transform(read_image(large)).shape == (3, 8, 8)


@pytest.mark.parametrize(("where", "megabytes"), [("disk", 10), ("memory", 0)])
def test_wrong_arguments_are_told(where: Any, megabytes: int) -> None:
    with pytest.raises(ConfigError, match=r"expected 'memory', 'files' or none, with at least 1\."):
        DecodedSplits(where, megabytes)


def test_a_wrong_resize_first_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        ImageFolderData(tmp_path, resize_first=0)


def test_a_copy_of_the_data_module_opens_its_own(
    root: Path, trainer: Callable[..., Trainer], recorder: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root.parent)
    places: tuple[Literal["memory", "files"], ...] = ("memory", "files")
    for where in places:
        data = ImageFolderData(root, image_size=8, num_workers=0, keep_decoded=where)
        expected = pixels(data, trainer(), recorder())
        data.trainer = None
        copied = pickle.loads(pickle.dumps(data))
        found = pixels(copied, trainer(), recorder())
        assert all(torch.equal(one, other) for one, other in zip(expected, found, strict=True))
