"""How far delivery has come is saved whole, and a file that is none is no reason to stop."""

from pathlib import Path

import pytest

from plt_nn.tracking.spool.events import RemovedArtifact
from plt_nn.tracking.upload.state import UploadState, load_state


def test_it_comes_back(tmp_path: Path) -> None:
    state = UploadState(offset=7, run_id="r", names={"a#": "a_"}, files=[RemovedArtifact("x")])
    state.save(tmp_path / "state.json")
    assert load_state(tmp_path / "state.json") == state
    assert [file.name for file in tmp_path.iterdir()] == ["state.json"]


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"version": 1, "unknown": 2}', '{"version": 99}'])
def test_without_one_delivery_begins_anew(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "state.json").write_text(content)
    assert load_state(tmp_path / "state.json") == UploadState()
