"""Features of a key are made once, used by all, and go when room is needed and nobody uses them."""

import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from plt_nn.features import feature_folder as folder
from plt_nn.features.feature_folder import META, FeatureEntry, create, entries, find, make_room, open_entry, remove
from plt_nn.features.rows import MARKS, RowType

TYPES = (RowType((4,), torch.float32), RowType((), torch.bool))
NBYTES = 10 * (8 + 17)


def made(root: Path, key: str, used: float | None = None) -> FeatureEntry:
    entry = create(root, key, 10, TYPES, {"layout": [1, "a"]}, {"net": "Net"})
    if used is not None:
        os.utime(entry.folder / META, (used, used))
    return entry


def test_what_was_made_is_found_as_it_was_made(tmp_path: Path) -> None:
    root = tmp_path / "new" / "features"
    assert find(root, "key") is None
    assert entries(root) == []
    entry = made(root, "key")
    assert find(root, "key") == entry
    assert (entry.size, entry.types, entry.nbytes) == (10, TYPES, NBYTES)
    assert entry.extra == {"layout": [1, "a"]}
    assert entry.about == {"net": "Net"}
    assert entry.rows() == 0


def test_rows_are_counted(tmp_path: Path) -> None:
    entry = made(tmp_path, "key")
    features = open_entry(entry, 1 << 20)
    features.store.put(torch.tensor([1, 5]), [torch.randn(2, 4), torch.tensor([True, False])])
    features.close()
    assert entry.rows() == 2
    os.truncate(entry.folder / MARKS, 21)
    assert entry.rows() == 1
    (entry.folder / MARKS).unlink()
    assert entry.rows() == 0


def test_a_second_making_keeps_what_is_there(tmp_path: Path) -> None:
    features = open_entry(made(tmp_path, "key"), 1 << 20)
    features.store.put(torch.tensor([1]), [torch.randn(1, 4), torch.tensor([True])])
    assert made(tmp_path, "key").rows() == 1
    features.close()
    assert len(list(tmp_path.iterdir())) == 1


def test_features_of_other_types_under_the_same_key_are_made_anew(tmp_path: Path) -> None:
    made(tmp_path, "key")
    entry = create(tmp_path, "key", 11, TYPES[:1], {}, {})
    assert (entry.size, entry.types) == (11, TYPES[:1])
    assert find(tmp_path, "key") == entry


DAMAGE: dict[str, Any] = {
    "empty": "",
    "half": '{"version": 1, "si',
    "another kind": "[1, 2]",
    "no size": json.dumps({"version": 1, "types": []}),
    "another version": json.dumps({"version": 99, "size": 1, "types": [], "extra": {}, "about": {}}),
    "no dtype": json.dumps(
        {"version": 1, "size": 1, "types": [{"shape": [], "dtype": "nn"}], "extra": {}, "about": {}}
    ),
}


@pytest.mark.parametrize("text", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_entry_is_as_good_as_none_and_is_made_anew(tmp_path: Path, text: str) -> None:
    (made(tmp_path, "key").folder / META).write_text(text)
    made(tmp_path, "whole")
    assert find(tmp_path, "key") is None
    assert [entry.key for entry in entries(tmp_path)] == ["whole"]
    assert made(tmp_path, "key") == find(tmp_path, "key")


def test_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    for age, key in enumerate(["new", "older", "oldest"]):
        made(tmp_path, key, 1e9 - age)
    assert [entry.key for entry in entries(tmp_path)] == ["oldest", "older", "new"]
    assert make_room(tmp_path, NBYTES, 4 * NBYTES) == 0
    assert len(entries(tmp_path)) == 3
    assert make_room(tmp_path, 1, 3 * NBYTES) == 0
    assert [entry.key for entry in entries(tmp_path)] == ["older", "new"]


def test_use_makes_young(tmp_path: Path) -> None:
    old = made(tmp_path, "old", 1e9 - 1)
    made(tmp_path, "new", 1e9)
    open_entry(old, 1 << 20).close()
    make_room(tmp_path, 1, 2 * NBYTES)
    assert [entry.key for entry in entries(tmp_path)] == ["old"]


def test_what_is_in_use_is_spared(tmp_path: Path) -> None:
    entry = made(tmp_path, "used")
    features = open_entry(entry, 1 << 20)
    made(tmp_path, "idle")
    assert entry.is_in_use()
    assert make_room(tmp_path, NBYTES, NBYTES) == NBYTES
    assert [entry.key for entry in entries(tmp_path)] == ["used"]
    features.close()
    assert not entry.is_in_use()
    assert make_room(tmp_path, NBYTES, NBYTES) == 0
    assert entries(tmp_path) == []


def test_what_is_removed_in_use_can_be_used_to_the_end(tmp_path: Path) -> None:
    entry = made(tmp_path, "key")
    features = open_entry(entry, 1 << 20)
    remove(entry)
    features.store.put(torch.tensor([3]), [torch.ones(1, 4), torch.tensor([True])])
    assert features.store.has(torch.tensor([3]))
    features.close()
    assert find(tmp_path, "key") is None


@pytest.mark.parametrize("step", ["find", "mkdtemp"])
def test_what_another_process_makes_meanwhile_stays(step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place: Any = folder if step == "find" else tempfile
    own = getattr(place, step)

    def be_late(*args: Any, **kwargs: Any) -> Any:
        done = own(*args, **kwargs)
        monkeypatch.setattr(place, step, own)
        features = open_entry(made(tmp_path, "key"), 1 << 20)
        features.store.put(torch.tensor([1]), [torch.ones(1, 4), torch.tensor([True])])
        features.close()
        return done

    monkeypatch.setattr(place, step, be_late)
    assert made(tmp_path, "key").rows() == 1
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


@pytest.mark.multiprocess
def test_processes_that_make_the_same_at_once_share_it(tmp_path: Path) -> None:
    begin = time.time() + 0.3
    children = []
    for number in range(4):
        child = os.fork()
        if child == 0:
            try:
                time.sleep(max(0.0, begin - time.time()))
                features = open_entry(made(tmp_path, "key"), 1 << 20)
                features.store.put(torch.tensor([number]), [torch.ones(1, 4), torch.tensor([True])])
                os._exit(0)
            finally:
                os._exit(1)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    entry = find(tmp_path, "key")
    assert entry is not None
    assert entry.rows() == 4
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_what_a_killed_process_left_goes_after_a_day(tmp_path: Path) -> None:
    made(tmp_path, "key")
    fresh, old = tmp_path / ".abc-fresh", tmp_path / ".abc-old"
    for remains in (fresh, old):
        remains.mkdir()
        (remains / META).write_text((tmp_path / "key" / META).read_text())
    os.utime(old, (1e9, 1e9))
    assert [entry.key for entry in entries(tmp_path)] == ["key"]
    make_room(tmp_path, 1, 1 << 30)
    assert fresh.is_dir()
    assert not old.exists()


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        made(tmp_path / "file", "key")
