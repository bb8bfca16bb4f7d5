from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from plt_nn.data.image_check import check_images
from plt_nn.errors import DataError
from plt_nn.inference.images import read_image

RAMP = np.linspace(0, 255, 16 * 16).round().astype(np.uint8).reshape(16, 16)
GREY = Image.fromarray(RAMP)


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [("1", ".png"), ("L", ".png"), ("LA", ".png"), ("RGBA", ".png"), ("RGB", ".bmp"), ("L", ".webp"), ("L", ".pgm")],
)
def test_the_pixels_of_every_mode_are_those_of_its_rgb_conversion(mode: str, suffix: str, tmp_path: Path) -> None:
    image = GREY.convert(mode)
    image.save(tmp_path / f"a{suffix}", lossless=True)
    read = read_image(tmp_path / f"a{suffix}")
    assert (read.mode, read.size) == ("RGB", (16, 16))
    assert np.array_equal(np.asarray(read), np.asarray(image.convert("RGB")))


def test_a_cmyk_jpeg_keeps_its_colours(tmp_path: Path) -> None:
    Image.new("RGB", (16, 16), (200, 40, 90)).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    assert np.abs(np.asarray(read_image(tmp_path / "a.jpg"), dtype=int) - (200, 40, 90)).max() <= 4


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("transparency", [None, 3, b"\x00\x80\xff"])
def test_a_palette_becomes_colours_without_a_warning(transparency: int | bytes | None, tmp_path: Path) -> None:
    image = Image.merge("RGB", [GREY, GREY.rotate(90), GREY.rotate(180)]).quantize(16)
    options: dict[str, Any] = {} if transparency is None else {"transparency": transparency}
    image.save(tmp_path / "a.png", **options)
    assert np.array_equal(np.asarray(read_image(tmp_path / "a.png")), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
def test_sixteen_bits_are_scaled_and_not_cut_off(suffix: str, tmp_path: Path) -> None:
    wide = RAMP.astype(np.uint16) * 257
    path = tmp_path / f"a{suffix}"
    if suffix == ".pgm":  # big-endian, which Pillow reads as mode "I"
        path.write_bytes(b"P5 16 16 65535\n" + wide.astype(">u2").tobytes())
    else:
        Image.fromarray(wide).save(path)
    assert Image.open(path).mode.startswith("I")
    assert np.array_equal(np.asarray(read_image(path))[..., 1], RAMP)


def test_mode_i_is_scaled_too(tmp_path: Path) -> None:
    Image.fromarray(RAMP.astype(np.int32) * 257 + 100).save(tmp_path / "a.tif")
    with Image.open(tmp_path / "a.tif") as image:
        assert image.mode == "I"
    assert np.array_equal(np.asarray(read_image(tmp_path / "a.tif"))[..., 0], RAMP)


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate by 90 degrees clockwise to see it upright"
    image = Image.new("RGB", (32, 16))
    image.paste((255, 0, 0), (0, 0, 16, 16))  # the left half is red, and belongs on top
    image.save(tmp_path / "a.jpg", exif=exif, quality=95)
    read = read_image(tmp_path / "a.jpg")
    assert read.size == (16, 32)
    assert np.asarray(read)[:14, :, 0].min() > 200 > 50 > np.asarray(read)[18:, :, 0].max()


def test_damaged_files_are_found_with_their_reasons(tmp_path: Path, picture: Callable[..., Path]) -> None:
    good = picture(tmp_path / "good.jpg", size=(300, 200))
    data = good.read_bytes()
    bad = {
        "short.jpg": (data[:-40], "image file is truncated"),
        "half.jpg": (data[: len(data) // 2], "image file is truncated"),
        "empty.jpg": (b"", "the file is empty"),
        "text.jpg": (b"these are words", "not an image that Pillow can read"),
    }
    for name, (content, _) in bad.items():
        (tmp_path / name).write_bytes(content)
    png = picture(tmp_path / "whole.png", size=(300, 200)).read_bytes()
    (tmp_path / "half.png").write_bytes(png[: len(png) // 2])
    paths = [good, *(tmp_path / name for name in bad), tmp_path / "half.png", tmp_path / "gone.jpg"]
    found, hashes = check_images(paths)
    assert list(hashes) == [good]
    assert list(found) == paths[1:]
    for name, (_, reason) in bad.items():
        assert found[tmp_path / name].startswith(f"{tmp_path / name}: ")
        assert reason in found[tmp_path / name]
    assert "No such file" in found[tmp_path / "gone.jpg"]
    with pytest.raises(DataError, match=r"half\.jpg: image file is truncated"):
        read_image(tmp_path / "half.jpg")


def test_truncated_images_are_never_padded_in_silence() -> None:
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def test_the_photographs_are_all_readable(photos: Path) -> None:
    paths = sorted(photos.rglob("*.jpg"))
    assert len(paths) == 398
    assert check_images(paths).bad == {}
