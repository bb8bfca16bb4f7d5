"""`plt-nn features`: what it lists, and what it removes."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from plt_nn.features.feature_folder import create, find, open_entry
from plt_nn.features.rows import RowType

Call = Callable[..., subprocess.CompletedProcess[str]]
KEYS = ("a1" * 16, "b2" * 16)


@pytest.fixture
def features(here: Path) -> Path:
    """Two stored features; of the first, 2 of 5 rows are there."""
    root = here / "mlruns" / "features"
    for key, samples in zip(KEYS, ("training", "validation"), strict=True):
        about = {"net": "ByobNet", "up to": "blocks_4", "samples": samples}
        create(root, key, 5, [RowType((250,), torch.float32)], {}, about)
    first = find(root, KEYS[0])
    assert first is not None
    opened = open_entry(first, 1000)
    opened.store.put(torch.tensor([0, 3]), [torch.ones(2, 250)])
    opened.close()
    return root


def test_they_are_listed_with_what_they_are(call: Call, features: Path) -> None:
    done = call("features", "ls")
    assert done.returncode == 0
    (first,) = [line for line in done.stdout.splitlines() if line.startswith("a1a1a1a1a1a1")]
    assert "2 of 5 training" in first
    assert "ByobNet" in first
    assert "blocks_4" in first
    assert "5.0 KB" in first
    assert f"10 KB in {features}" in done.stdout


def test_they_are_removed_by_the_beginning_of_their_key(call: Call, features: Path) -> None:
    done = call("features", "rm", "a1a1")
    assert (done.returncode, done.stdout) == (0, "Removed 1: 5.0 KB.\n")
    assert [folder.name for folder in features.iterdir()] == [KEYS[1]]
    assert call("features", "rm", "--all").returncode == 0
    assert list(features.iterdir()) == []
    assert call("features", "ls").stdout == f"There are no features in {features}.\n"


def test_a_wrong_key_removes_nothing(call: Call, features: Path) -> None:
    done = call("features", "rm", "a1a1", "c3")
    assert done.returncode == 2
    assert "There are no features 'c3'." in done.stderr
    assert len(list(features.iterdir())) == 2
    done = call("features", "rm")
    assert done.returncode == 2
    assert "Say which features to remove" in done.stderr
