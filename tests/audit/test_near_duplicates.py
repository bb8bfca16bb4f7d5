import numpy as np
from numpy.typing import NDArray

from plt_nn.audit import duplicates
from plt_nn.audit.duplicates import near_pairs


def pictures(count: int, seed: int = 0) -> tuple[NDArray[np.bool_], NDArray[np.uint8]]:
    draw = np.random.default_rng(seed)
    return draw.random((count, 64)) < 0.5, draw.integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)


def test_pairs_are_found_across_blocks_and_each_once() -> None:
    bits, thumbnails = pictures(1000)
    for copy, of, flips in ((700, 3, 8), (999, 998, 0), (5, 400, 9)):
        bits[copy], thumbnails[copy] = bits[of], thumbnails[of]
        bits[copy, :flips] ^= True
    pairs, left_out = near_pairs(bits, thumbnails, np.ones(1000, dtype=np.bool_))
    assert sorted(map(tuple, pairs.tolist())) == [(3, 700), (998, 999)], "9 bits are too many"
    assert left_out == 0


def test_the_same_hash_is_not_enough() -> None:
    bits, thumbnails = pictures(40)
    bits[:] = bits[0]
    assert len(near_pairs(bits, thumbnails, np.ones(40, dtype=np.bool_))[0]) == 0


def test_small_images_have_to_be_more_alike() -> None:
    bits, thumbnails = pictures(2)
    bits[1] = bits[0]
    change = np.random.default_rng(1).normal(0, 15, thumbnails[0].shape)
    thumbnails[1] = np.clip(thumbnails[0] + change, 0, 255)
    assert len(near_pairs(bits, thumbnails, np.array([True, True]))[0]) == 1
    assert len(near_pairs(bits, thumbnails, np.array([True, False]))[0]) == 0


def test_a_flood_is_bounded_and_told() -> None:
    bits, thumbnails = pictures(600)
    bits[:], thumbnails[:] = bits[0], thumbnails[0]
    pairs, left_out = near_pairs(bits, thumbnails, np.ones(600, dtype=np.bool_))
    assert left_out == 600 * 599 // 2 - len(pairs) > 0
    assert len(pairs) <= duplicates._PER_ROW * 600
    assert set(pairs.ravel().tolist()) == set(range(600)), "still each is found to be like another"
