from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from plt_nn.audit.scan import scan_images
from tests.audit.conftest import Planted

Write = Callable[..., Path]


def test_a_row_for_each_file_in_order(tmp_path: Path, noise: Write) -> None:
    files = [noise(tmp_path / f"{number}.png", number, side=40 + number) for number in range(5)]
    told: list[int] = []
    scanned = scan_images(
        {"train": [(path, 0) for path in files[:3]], "val": [(path, 1) for path in files[3:]]}, told.append
    )
    assert scanned.paths == files
    assert scanned.sizes.tolist() == [[40 + number] * 2 for number in range(5)]
    assert scanned.labels.tolist() == [0, 0, 0, 1, 1]
    assert [scanned.split_names[code] for code in scanned.splits] == ["train"] * 3 + ["val"] * 2
    assert sum(told) == 5
    assert scanned.readable.all()


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "CMYK", "1", "I;16"])
def test_every_kind_of_pixels(mode: str, tmp_path: Path) -> None:
    ramp = np.linspace(0, 255, 64 * 64).reshape(64, 64)
    image = Image.fromarray((ramp * 257).astype(np.uint16) if mode == "I;16" else ramp.astype(np.uint8))
    file = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    (image if mode == "I;16" else image.convert(mode)).save(file)
    scanned = scan_images({"train": [(file, 0)]})
    assert scanned.reasons == {}
    assert scanned.modes == [mode]
    assert scanned.grey.tolist() == [True]
    assert not scanned.flat[0]


def test_upright_as_the_exif_orientation_says(tmp_path: Path, noise: Write) -> None:
    file = tmp_path / "a.jpg"
    with Image.open(noise(tmp_path / "a.png", 0)) as image:
        exif = image.getexif()
        exif[0x0112] = 6
        image.resize((90, 50)).save(file, exif=exif)
    assert scan_images({"train": [(file, 0)]}).sizes.tolist() == [[50, 90]]


def test_what_cannot_be_read_has_a_reason(planted: Planted, tmp_path: Path) -> None:
    names = sorted(planted.unreadable)
    (tmp_path / "empty.png").touch()
    files = [*(planted.root / name for name in names), tmp_path / "empty.png", tmp_path / "gone.jpg"]
    scanned = scan_images({"train": [(path, 0) for path in files]})
    reasons = [scanned.reasons[row] for row in range(4)]
    assert "truncated" in reasons[0]
    assert reasons[1:] == ["not an image that Pillow can read", "the file is empty", "No such file or directory"]
    assert not scanned.readable.any()


def test_one_colour_is_flat_and_a_photograph_is_not(tmp_path: Path, photos: Path) -> None:
    Image.new("RGB", (64, 64), (200, 10, 10)).save(tmp_path / "red.jpg")
    photo = next(photos.glob("train/bees/*.jpg"))
    scanned = scan_images({"train": [(tmp_path / "red.jpg", 0), (photo, 0)]})
    assert scanned.flat.tolist() == [True, False]
    assert scanned.grey.tolist() == [False, False]


def test_no_file_at_all() -> None:
    scanned = scan_images({"train": []})
    assert scanned.paths == []
    assert scanned.readable.shape == (0,)
