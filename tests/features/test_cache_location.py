"""Features go to files where they can be found again, else to memory, else nowhere, with the reason."""

import os
from pathlib import Path

import pytest
import torch

from plt_nn.features.cache_location import CacheLocation, NoRoom
from plt_nn.features.rows import RowType

TYPES = [RowType((4,), torch.float32)]
NBYTES = 10 * 24


def test_what_was_cached_is_found_by_its_key(tmp_path: Path) -> None:
    place = CacheLocation(tmp_path, 1 << 20, 1 << 20)
    assert place.find("key") is None
    entry = place.make("key", 10, TYPES, {"a": [1]}, {})
    entry.store.put(torch.tensor([2]), [torch.ones(1, 4)])
    entry.close()
    again = place.find("key")
    assert again is not None
    assert again.extra == {"a": [1]}
    assert again.store.has(torch.tensor([2]))
    again.close()
    assert place.find(None) is None
    assert place.find("other") is None


@pytest.mark.parametrize("key", [None, "key"])
def test_without_a_key_or_a_folder_memory_is_used(tmp_path: Path, key: str | None) -> None:
    entry = CacheLocation(tmp_path if key is None else None, 1 << 20, NBYTES).make(key, 10, TYPES, {"a": 1}, {})
    assert entry.files is None
    assert entry.extra == {"a": 1}
    entry.store.put(torch.tensor([2]), [torch.ones(1, 4)])
    assert entry.store.has(torch.tensor([2]))
    entry.close()
    assert list(tmp_path.iterdir()) == []


def test_without_a_key_and_memory_there_is_no_place(tmp_path: Path) -> None:
    with pytest.raises(NoRoom, match=r"240 B are more than the 239 B allowed in memory.*cannot be used again"):
        CacheLocation(tmp_path, 1 << 20, NBYTES - 1).make(None, 10, TYPES, {}, {})


def test_a_folder_at_its_limit_leaves_memory_or_says_so(tmp_path: Path) -> None:
    assert CacheLocation(tmp_path, NBYTES - 1, NBYTES).make("key", 10, TYPES, {}, {}).files is None
    with pytest.raises(NoRoom, match="1 B over its limit"):
        CacheLocation(tmp_path, NBYTES - 1, 0).make("key", 10, TYPES, {}, {})


def test_a_full_disk_leaves_memory_or_says_so() -> None:
    large = [RowType((1 << 40,), torch.float32)]  # the files would be sparse: nothing is written
    with pytest.raises(NoRoom, match="the disk of /dev/shm has"):
        CacheLocation(Path("/dev/shm"), 1 << 60, 0).make("plt-nn-test", 1000, large, {}, {})


def test_a_folder_that_cannot_be_used_leaves_memory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    place = CacheLocation(tmp_path / "file", 1 << 20, 1 << 20)
    assert place.find("key") is None
    assert place.make("key", 10, TYPES, {}, {}).files is None


def test_a_second_user_needs_no_room_of_its_own(tmp_path: Path) -> None:
    place = CacheLocation(tmp_path, NBYTES, 0)
    one = place.make("key", 10, TYPES, {}, {})
    other = place.make("key", 10, TYPES, {}, {})
    one.store.put(torch.tensor([2]), [torch.ones(1, 4)])
    assert other.store.has(torch.tensor([2]))
    one.close()
    other.close()


def test_what_is_used_is_not_removed_for_others(tmp_path: Path) -> None:
    place = CacheLocation(tmp_path, NBYTES, 0)
    one = place.make("key", 10, TYPES, {}, {})
    with pytest.raises(NoRoom):
        place.make("other", 10, TYPES, {}, {})
    one.close()
    place.make("other", 10, TYPES, {}, {}).close()
    assert place.find("key") is None


@pytest.mark.multiprocess
def test_processes_that_need_the_same_room_at_once_share_it(tmp_path: Path) -> None:
    place = CacheLocation(tmp_path, NBYTES, 0)
    children = []
    for number in range(4):
        child = os.fork()
        if child == 0:
            try:
                entry = place.find("key") or place.make("key", 10, TYPES, {}, {})
                entry.store.put(torch.tensor([number]), [torch.ones(1, 4)])
                os._exit(0)
            finally:
                os._exit(1)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    found = place.find("key")
    assert found is not None
    assert found.store.has(torch.arange(4))
    found.close()
