"""What plots show, from plain arrays."""

import base64
import gzip

import numpy as np

from plt_nn.reports.curves import ArrayBlock, epochs_trained, front, phases
from plt_nn.tracking.read.runs import RunRecord, history_of


def test_the_front_is_what_nothing_beats_in_both() -> None:
    points = [(1.0, 0.5), (2.0, 0.6), (3.0, 0.4), (3.0, 0.3), (0.5, 0.9)]
    assert front(points, "min") == [4, 0, 3]
    assert front(points, "max") == [4]


def test_epochs_have_fractions() -> None:
    epochs = history_of([(9, 0, 1), (19, 1, 2)])
    found = epochs_trained(epochs, np.array([-1, 4, 9, 14, 19]))
    assert found is not None
    assert found.tolist() == [0, 0.5, 1, 1.5, 2]
    assert epochs_trained(None, np.array([1])) is None


def test_phases_begin_where_their_number_changes() -> None:
    own = {"phase": history_of([(0, 0, 0), (5, 0, 5), (10, 1, 60_000), (20, 1, 99)])}
    run = RunRecord("id", "run", "x", "FINISHED", 0, tags={"phase/1": "epoch 1, step 10: trains all (9 of 9)"})
    found = phases(own, run)
    assert [(phase["name"], phase["step"]) for phase in found] == [("phase 0", 0), ("phase 1: all (9 of 9)", 10)]
    assert found[1]["minute"] == 1


def test_arrays_lie_aligned_and_once() -> None:
    block = ArrayBlock()
    first, second = block.add(np.arange(3), "i4"), block.add(np.array([0.5, np.nan]), "f8")
    assert block.add(np.arange(3), "i4") is first
    content = gzip.decompress(base64.b64decode(block.packed()))
    for (offset, length, kind), values in ((first, [0, 1, 2]), (second, [0.5, np.nan])):
        np.testing.assert_array_equal(np.frombuffer(content, f"<{kind}", length, offset), values)
        assert offset % 8 == 0
