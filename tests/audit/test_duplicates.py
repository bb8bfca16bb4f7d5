import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from plt_nn.audit.duplicates import DuplicateGroup, find_duplicates
from plt_nn.audit.scan import ScannedImages, scan_images
from tests.audit.conftest import Planted, audited, told

Write = Callable[..., Path]


def scanned(*files: Path) -> ScannedImages:
    return scan_images({"train": [(path, 0) for path in files]})


@pytest.fixture(scope="module")
def found(planted: Planted) -> dict[str, list[str]]:
    """File -> the files that show the same picture."""
    audit = audited(planted.root)
    groups = [[audit.name(row) for row in group.rows] for group in audit.duplicates.groups]
    return {name: group for group in groups for name in group}


def test_every_planted_duplicate_and_nothing_else(planted: Planted, found: dict[str, list[str]]) -> None:
    pairs = planted.exact + planted.near
    assert {frozenset(group) for group in found.values()} == {frozenset(pair) for pair in pairs}
    assert len(pairs) == 13


def test_the_photographs_themselves_hold_none(photos: Path) -> None:
    assert audited(photos).duplicates.groups == ()


def test_other_sizes_formats_and_qualities(photos: Path, tmp_path: Path) -> None:
    photo = next(photos.glob("train/ants/*.jpg"))
    files = [photo]
    with Image.open(photo) as image:
        for number, (factor, ending, quality) in enumerate(
            [(0.3, "jpg", 50), (1, "jpg", 15), (1, "png", None), (2, "webp", 70), (0.5, "bmp", None)]
        ):
            files.append(tmp_path / f"{number}.{ending}")
            options: dict[str, Any] = {} if quality is None else {"quality": quality}
            image.resize((int(image.width * factor), int(image.height * factor))).save(files[-1], **options)
    (group,) = find_duplicates(scanned(*files)).groups
    assert group.rows == (0, 1, 2, 3, 4, 5)
    assert not group.is_exact


def test_copies_are_told_from_what_is_only_near(noise: Write, tmp_path: Path) -> None:
    first, other = noise(tmp_path / "a.png", 0), noise(tmp_path / "b.png", 1)
    copy = Path(shutil.copy(first, tmp_path / "c.png"))
    with Image.open(first) as image:
        image.save(tmp_path / "d.jpg", quality=60)
    groups = find_duplicates(scanned(first, other, copy, tmp_path / "d.jpg")).groups
    assert groups == (DuplicateGroup(((0, 2), (3,))),)
    (exact,) = find_duplicates(scanned(first, other, copy)).groups
    assert exact.is_exact


def test_images_of_one_colour_do_not_flood_the_list(tmp_path: Path) -> None:
    files = []
    for shade in range(0, 250, 25):
        files.append(tmp_path / f"{shade}.png")
        Image.new("RGB", (64, 64), (shade, shade, shade)).save(files[-1])
    assert find_duplicates(scanned(*files)).groups == ()
    files.append(Path(shutil.copy(files[0], tmp_path / "again.png")))
    assert [group.rows for group in find_duplicates(scanned(*files)).groups] == [(0, 10)]


def test_across_splits_under_other_labels_and_by_seed(noise: Write, tmp_path: Path) -> None:
    for number in range(10):
        noise(tmp_path / "ant" / f"{number}.png", number)
        noise(tmp_path / "bee" / f"{number}.png", 100 + number)
    shutil.copy(tmp_path / "ant" / "0.png", tmp_path / "bee" / "wrong.png")
    for number in range(5):
        shutil.copy(tmp_path / "ant" / "1.png", tmp_path / "ant" / f"again{number}.png")
    audit = audited(tmp_path, val=0.4)
    (conflict,) = told(audit, "label conflicts")
    assert "1 picture is in more than one class: ant/0.png and bee/wrong.png." in conflict
    assert conflict.startswith("error")
    (across,) = [finding for finding in audit.findings if finding.kind == "duplicates across splits"]
    assert "the split is random" in across.mend
    assert audit.crossing
    (whole,) = told(audited(tmp_path, val=0.0), "duplicates")
    assert "6 of 26 images in train repeat another one there" in whole
    assert audited(tmp_path, val=0.0).crossing == []
