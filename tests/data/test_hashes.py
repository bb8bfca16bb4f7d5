import numpy as np
import pytest
from numpy.typing import NDArray

from plt_nn.data.hashes import SKETCH_SIZE, as_array, content_hash, overlap, sketch


def hashes(first: int, last: int) -> NDArray[np.bytes_]:
    return as_array([content_hash(f"{number}".encode()) for number in range(first, last)])


@pytest.mark.parametrize("size", [0, 1, 100, SKETCH_SIZE - 1])
def test_of_a_small_set_all_are_known(size: int) -> None:
    known = sketch(hashes(0, size))
    assert overlap(hashes(0, 2 * size), known) == (size, 2 * size, 2 * size)
    assert overlap(hashes(size, 2 * size), known) == (0, size, size)
    assert overlap(hashes(0, 0), known) == (0, 0, 0)


def test_of_a_large_set_a_share_is_known() -> None:
    known = sketch(hashes(0, 20_000))
    assert len(known) < 3_000
    assert sketch(hashes(0, 20_000)[::-1]) == known
    assert sketch(np.concatenate([hashes(0, 20_000)] * 2)) == known
    found, looked_up, samples = overlap(hashes(0, 20_000), known)
    assert (found, looked_up, samples) == (SKETCH_SIZE, SKETCH_SIZE, 20_000)
    found, looked_up, samples = overlap(hashes(10_000, 30_000), known)
    assert samples == 20_000
    assert abs(found / looked_up - 0.5) < 0.1
    found, looked_up, _ = overlap(hashes(20_000, 60_000), known)
    assert found == 0
    assert looked_up > SKETCH_SIZE


def test_hashes_that_end_with_zeros_are_hashes_too() -> None:
    odd = as_array([b"\1" + bytes(15), bytes(16), b"\1" * 8 + bytes(8)])
    assert overlap(odd, sketch(odd[:2])) == (2, 3, 3)


@pytest.mark.parametrize("text", ["no sketch", "AAA", "AAAA", "\xe4"])
def test_what_is_no_sketch_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        overlap(hashes(0, 1), text)
