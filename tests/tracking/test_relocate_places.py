"""Paths and `file:` addresses below a folder, given another folder."""

from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plt_nn.tracking.relocate import moved, path_of

OLD, NEW = Path("/a/ml runs"), Path("/b/100% neu ü")


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("/a/ml runs", "/b/100% neu ü"),
        ("/a/ml runs/artifacts/x", "/b/100% neu ü/artifacts/x"),
        ("/a/ml runs/", "/b/100% neu ü"),
        ("file:///a/ml%20runs/artifacts/a%20b", "file:///b/100%25%20neu%20%C3%BC/artifacts/a%20b"),
        ("file:/a/ml%20runs/x", "file:///b/100%25%20neu%20%C3%BC/x"),
        ("file://localhost/a/ml%20runs/x", "file:///b/100%25%20neu%20%C3%BC/x"),
        ("file:///a/ml runs/x", "file:///b/100%25%20neu%20%C3%BC/x"),
    ],
)
def test_what_lies_in_the_old_folder_moves(place: str, expected: str) -> None:
    assert moved(place, [OLD], NEW) == expected
    assert moved(expected, [OLD], NEW) == expected, "once is enough"


@pytest.mark.parametrize(
    "place",
    [
        "/a/ml runs2/x",
        "/a/ml run",
        "/a",
        "",
        "a/ml runs/x",
        "/z/a/ml runs/x",
        "file:///a/ml%20runs2/x",
        "file://host/a/ml%20runs/x",
        "s3://bucket/a/ml runs/x",
        "mlflow-artifacts:/a/ml runs/x",
        "models:/m-1",
        "see /a/ml runs/x",
        "/a/ml%20runs/x",
    ],
)
def test_everything_else_stays(place: str) -> None:
    assert moved(place, [OLD], NEW) == place


def test_the_nearest_of_several_folders_counts() -> None:
    old = [Path("/a"), Path("/a/b"), Path("/c")]
    assert moved("/a/b/x", old, Path("/n")) == "/n/x"
    assert moved("/a/d/x", old, Path("/n")) == "/n/d/x"
    assert moved("/c/x", old, Path("/n")) == "/n/x"


def test_a_folder_that_moved_down_or_up() -> None:
    assert moved("/a/runs/x", [Path("/a/runs")], Path("/a/runs/sub")) == "/a/runs/sub/x"
    assert moved("/a/runs/sub/x", [Path("/a/runs")], Path("/a/runs/sub")) == "/a/runs/sub/x", "it is there already"
    assert moved("/a/runs/x", [Path("/a/runs")], Path("/a")) == "/a/x"


NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=8).filter(
    lambda name: name not in (".", "..")
)
FOLDERS = st.lists(NAMES, min_size=1, max_size=4).map(lambda parts: Path("/", *parts))


@given(FOLDERS, FOLDERS, st.lists(NAMES, max_size=3))
def test_plain_and_address_agree(old: Path, new: Path, rest: list[str]) -> None:
    place = old.joinpath(*rest)
    plain = moved(str(place), [old], new)
    assert path_of(moved(place.as_uri(), [old], new)) == PurePosixPath(plain)
    if not place.is_relative_to(new) or old.is_relative_to(new):
        assert Path(plain) == new.joinpath(*rest)
