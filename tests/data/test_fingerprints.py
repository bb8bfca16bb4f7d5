"""Fingerprints tell data by its content: not by names, order or preparation."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from plt_nn.backbones import Preprocessing
from plt_nn.data import (
    DigitsData,
    ImageFolderData,
    SplitFingerprint,
    SyntheticRegressionData,
    TabularData,
    image_folder,
)
from plt_nn.data.fingerprints import SplitContent, fingerprints_of
from plt_nn.data.hashes import as_array, row_hashes
from plt_nn.data.image_check import file_hashes

Folder = Callable[..., Path]


def of(root: Path, stage: str | None = "fit") -> dict[str, SplitFingerprint]:
    data = ImageFolderData(root, num_workers=0)
    data.setup(stage)
    return data.fingerprints()


@pytest.fixture
def root(tmp_path: Path, class_folder: Folder, picture: Folder) -> Path:
    """Five different ants and bees to train on, two of each to validate on."""
    for at, (split, name, count) in enumerate(
        [("train", "ant", 5), ("train", "bee", 5), ("val", "ant", 2), ("val", "bee", 2)]
    ):
        for number in range(count):
            picture(tmp_path / "p" / split / name / f"{number}.png", shade=10 * at + number)
    return tmp_path / "p"


def test_the_digest_is_of_the_content(root: Path) -> None:
    before = of(root)
    assert all(re.fullmatch("[0-9a-f]{1,36}", facts.digest) for facts in before.values())
    assert before["train"].digest != before["val"].digest
    moved = root.rename(root.with_name("elsewhere"))
    (moved / "train" / "ant" / "0.png").rename(moved / "train" / "ant" / "zebra.png")
    assert {split: facts.digest for split, facts in of(moved).items()} == {
        split: facts.digest for split, facts in before.items()
    }


def test_another_class_or_another_byte_is_another_digest(root: Path) -> None:
    digests = [of(root)["train"].digest]
    (root / "train" / "ant" / "0.png").rename(root / "train" / "bee" / "first.png")
    digests.append(of(root)["train"].digest)
    with (root / "train" / "ant" / "1.png").open("ab") as file:
        file.write(b"\0")
    digests.append(of(root)["train"].digest)
    assert len(set(digests)) == 3


def test_samples_that_occur_twice_are_counted_and_named(root: Path) -> None:
    assert of(root)["val"].duplicates == {"train": 0}
    shutil.copy(root / "train" / "ant" / "3.png", root / "val" / "ant" / "again.png")
    shutil.copy(root / "train" / "ant" / "4.png", root / "val" / "bee" / "other class.png")
    shutil.copy(root / "train" / "ant" / "4.png", root / "train" / "ant" / "5.png")
    found = of(root)
    assert found["val"].duplicates == {"train": 2}
    assert found["val"].examples == {"train": ["val/ant/again.png", "val/bee/other class.png"]}
    assert found["train"].duplicates == {"val": 3}
    assert len(found["train"].examples["val"]) == 3
    assert (found["train"].duplicates_within, found["val"].duplicates_within) == (1, 0)
    assert found["train"].class_counts == {"ant": 6, "bee": 5}
    assert found["train"].samples == 11


def test_a_test_set_that_is_not_set_up_counts_too(root: Path) -> None:
    shutil.copytree(root / "val", root / "test")
    (root / "test" / "ant" / "gone.png").symlink_to("nowhere.png")
    data = ImageFolderData(root, num_workers=0)
    data.setup("fit")
    found = data.fingerprints()
    assert "test" not in data.samples
    assert found["test"].duplicates == {"train": 0, "val": 4}
    assert found["test"].samples == 4, "a file that cannot be read is left out"
    assert found["test"].digest == found["val"].digest


def test_files_are_read_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = ImageFolderData(root, num_workers=0)
    data.setup("fit")
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"{path} is read again"))
    assert data.fingerprints()["train"].samples == 10


def test_images_that_are_not_checked_have_fingerprints(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checked = of(root)
    monkeypatch.setattr(image_folder, "check_images", lambda paths: pytest.fail("not asked for"))
    data = ImageFolderData(root, num_workers=0)
    data.check_images = False
    data.setup("fit")
    assert data.fingerprints() == checked


def test_the_photographs(photos: Path, tmp_path: Path) -> None:
    found = of(photos)
    assert found["train"].class_counts == {"ants": 124, "bees": 121}
    assert found["val"].class_counts == {"ants": 70, "bees": 83}
    assert found["train"].duplicates == {"val": 0}
    assert found["train"].source == str(photos)
    copy = Path(shutil.copytree(photos, tmp_path / "copy"))
    leaked = sorted((copy / "train" / "bees").iterdir())[:4]
    for number, photo in enumerate(leaked):
        shutil.copy(photo, copy / "val" / "bees" / f"{number}.jpg")
    again = of(copy)
    assert again["train"].digest == found["train"].digest
    assert again["val"].digest != found["val"].digest
    assert again["val"].duplicates == {"train": 4}
    assert again["val"].examples["train"] == ["val/bees/0.jpg", "val/bees/1.jpg", "val/bees/2.jpg"]


def test_digits_are_told_by_their_scans() -> None:
    plain = DigitsData(test_fraction=0.2).fingerprints()
    assert plain.keys() == {"train", "val", "test"}
    assert sum(facts.samples for facts in plain.values()) == 1797
    assert plain["val"].class_counts is not None
    assert list(plain["val"].class_counts) == [str(digit) for digit in range(10)]
    assert plain["val"].duplicates == {"train": 0, "test": 0}
    prepared = DigitsData(test_fraction=0.2, image_size=32, channels=3, preprocessing=Preprocessing())
    prepared.setup()
    assert prepared.fingerprints() == plain
    assert DigitsData(split_seed=1).fingerprints()["val"].digest != DigitsData().fingerprints()["val"].digest


def test_tables_and_values(tmp_path: Path) -> None:
    rows = [f"{number % 7}.5,{number % 3},{'ab'[number % 2]}" for number in range(100)]
    (tmp_path / "table.csv").write_text("\n".join(["x,z,kind", *rows]))
    data = TabularData(tmp_path / "table.csv", target="kind")
    data.setup()
    found = data.fingerprints()
    assert found["train"].class_counts == {"a": 40, "b": 40}
    assert found["train"].duplicates_within > 0, "the table repeats itself after 42 rows"
    assert found["val"].duplicates["train"] > 0
    assert found["val"].examples["train"][0].startswith("sample ")
    values = SyntheticRegressionData(samples=50, val_samples=20)
    values.setup()
    of_values = values.fingerprints()
    assert of_values["train"].class_counts is None
    assert (of_values["val"].samples, of_values["val"].duplicates, of_values["val"].examples) == (20, {"train": 0}, {})
    other = SyntheticRegressionData(samples=50, val_samples=20, data_seed=1)
    other.setup()
    assert other.fingerprints()["train"].digest != of_values["train"].digest


def test_the_hash_of_a_row_is_of_input_and_target() -> None:
    x, y = torch.tensor([[1.0, 2.0], [1.0, 2.0], [1.0, 3.0]]), torch.tensor([0, 1, 0])
    first, second, third = row_hashes(x, y)
    assert len({first, second, third}) == 3
    assert row_hashes(x[[2, 0]], y[[2, 0]]).tolist() == [third, first]


def test_the_order_of_samples_and_of_classes_makes_no_difference() -> None:
    hashes = as_array([b"a" * 16, b"b" * 16, b"c" * 16])
    one = fingerprints_of({"train": SplitContent(hashes, np.array([0, 1, 1]), str)}, ["ant", "bee"], "")
    two = fingerprints_of({"train": SplitContent(hashes[::-1], np.array([0, 0, 1]), str)}, ["bee", "ant"], "")
    assert one["train"].digest == two["train"].digest
    assert one["train"].class_counts == two["train"].class_counts


def test_a_file_that_cannot_be_read_has_no_hash(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    assert list(file_hashes([tmp_path / "a", tmp_path / "b"])) == [tmp_path / "a"]
