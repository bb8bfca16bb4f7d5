"""What is delivered for good is dropped after a while, and nothing else."""

import time
from pathlib import Path

import pytest

from plt_nn.tracking.spool.events import Metrics
from plt_nn.tracking.spool.folder import SpoolFolder
from plt_nn.tracking.spool.writer import SpoolWriter
from plt_nn.tracking.upload.prune import prune
from plt_nn.tracking.upload.state import UploadState


@pytest.mark.parametrize(
    ("change", "is_dropped"),
    [
        ({}, True),
        ({"finished_at": time.time()}, False),
        ({"finished_at": None}, False),
        ({"offset": 0}, False),
        ({"refused": 1}, False),
        ({"missing": ["a"]}, False),
    ],
)
def test_what_is_dropped(change: dict[str, object], is_dropped: bool, tmp_path: Path) -> None:
    folder = SpoolFolder(tmp_path / "spool" / "20260101-000000-1a2b3c4d")
    writer = SpoolWriter(folder, 1 << 20)
    writer.append(Metrics(1, {"loss": 1.0}))
    state = UploadState(offset=folder.size(), status="FINISHED", finished_at=time.time() - 8 * 24 * 3600)
    for name, value in change.items():
        setattr(state, name, value)
    state.save(folder.state)
    assert prune(tmp_path) == [], "its writer is alive"
    writer.close()
    assert prune(tmp_path) == ([folder.root.name] if is_dropped else [])
    assert folder.root.exists() is not is_dropped
