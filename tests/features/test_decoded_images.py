"""Decoded images are stored whole or not at all, whoever writes them, and as long as there is room."""

import multiprocessing
import os
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from plt_nn.features.decoded_images import IMAGES, DecodedImages, count_images
from plt_nn.features.feature_folder import MORE_BYTES, create, entries, open_entry


def image(number: int, height: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(number)
    return torch.randint(0, 256, (height, 3 + number, 3), dtype=torch.uint8, generator=generator)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def assert_there(images: DecodedImages, number: int, expected: Tensor) -> None:
    found = images.get(number)
    assert found is not None
    assert found.equal(expected)


@pytest.fixture(params=["memory", "files"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path if request.param == "files" else None


def test_images_of_any_size_come_back_as_they_were(place: Path | None) -> None:
    images = DecodedImages(10, 10_000, place)
    assert images.get(3) is None
    assert all(images.put(number, image(number, height=number + 1)) for number in (3, 9, 0))
    for number in (3, 9, 0):
        assert_there(images, number, image(number, height=number + 1))
    assert images.get(1) is None
    assert images.count() == 3


def test_what_does_not_fit_is_not_stored_and_the_rest_stays(place: Path | None) -> None:
    images = DecodedImages(2, 2 * 32 + image(0).numel() + 10, place)
    assert images.put(0, image(0))
    assert not images.put(1, image(1))
    assert images.get(1) is None
    assert_there(images, 0, image(0))


def test_a_file_is_used_again(tmp_path: Path) -> None:
    first = DecodedImages(4, 10_000, tmp_path)
    first.put(2, image(2))
    first.close()
    again = DecodedImages(4, 10_000, tmp_path)
    assert_there(again, 2, image(2))
    assert again.put(3, image(3))
    assert count_images(tmp_path / IMAGES, 4) == 2


@pytest.mark.parametrize("at", [0, 8, 24, 4 * 32 + 7], ids=["its place", "its height", "its mark", "its pixels"])
def test_a_damaged_image_is_absent_and_can_be_put_again(tmp_path: Path, at: int) -> None:
    images = DecodedImages(4, 10_000, tmp_path)
    images.put(0, image(0))
    with (tmp_path / IMAGES).open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))
    assert images.get(0) is None
    assert images.put(0, image(0))
    assert_there(images, 0, image(0))


def test_a_file_that_was_cut_short_is_no_error(tmp_path: Path) -> None:
    images = DecodedImages(4, 10_000, tmp_path)
    images.put(0, image(0))
    for length in (4 * 32 + 5, 20, 0):
        os.truncate(tmp_path / IMAGES, length)
        assert images.get(0) is None
    assert images.put(0, image(0))
    assert images.get(0) is not None


def _put_all(images: DecodedImages, first: int) -> None:
    for number in range(first, images.size, 2):
        images.put(number, image(number % 40))


def _put_into_both(stores: list[DecodedImages], first: int) -> None:
    for images in stores:
        _put_all(images, first)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_put_into_the_same_place(tmp_path: Path, method: str) -> None:
    stores = [DecodedImages(60, 1 << 20, place) for place in (None, tmp_path)]
    context: Any = multiprocessing.get_context(method)
    worker = context.Process(target=_put_into_both, args=(stores, 0))
    worker.start()
    _put_into_both(stores, 1)
    worker.join()
    assert worker.exitcode == 0
    for images in stores:
        assert images.count() == 60
        for number in range(60):
            assert_there(images, number, image(number % 40))


def test_threads_never_leave_a_wrong_image() -> None:
    images = DecodedImages(200, 1 << 20)
    threads = [threading.Thread(target=_put_all, args=(images, first)) for first in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(200):  # a lock of a process does not keep its threads apart; marks do
        found = images.get(number)
        assert found is None or found.equal(image(number % 40))


def test_a_full_disk_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = DecodedImages(4, 10_000, tmp_path)
    images.put(0, image(0))
    images.close()
    images._hold(os.open("/dev/full", os.O_RDWR))
    monkeypatch.setattr(images, "_reserve", lambda count: 4 * 32)  # which the device cannot do
    with pytest.warns(UserWarning, match="No space left"):
        assert not images.put(1, image(1))
    assert not images.put(1, image(1)), "and that is said once"


def test_what_nobody_holds_is_given_back(place: Path | None) -> None:
    before = open_files()
    images = DecodedImages(4, 10_000, place)
    assert open_files() == before + 1
    del images
    assert open_files() == before


def test_their_entry_counts_them_and_the_room_they_take(tmp_path: Path) -> None:
    entry = create(tmp_path, "key", 4, (), {MORE_BYTES: 5_000}, {"net": "decoded images"})
    files = open_entry(entry, 0)
    DecodedImages(4, 5_000, entry.folder).put(1, image(1))
    (found,) = entries(tmp_path)
    assert (found.nbytes, found.rows(), found.is_in_use()) == (5_000 + 4 * 8, 1, True)
    files.close()
