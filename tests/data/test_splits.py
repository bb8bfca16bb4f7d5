import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from plt_nn.data.splits import check_fractions, size_faults, stratified_split
from plt_nn.errors import ConfigError

labels = st.lists(st.integers(0, 4), min_size=1, max_size=120)
fractions = st.floats(0.0, 0.45)


@given(labels, fractions, fractions, st.integers(0, 3))
def test_a_split_is_a_partition_with_every_class_in_every_part(
    codes: list[int], val: float, test: float, s: int
) -> None:
    held_out = {"val": val, "test": test}
    classes = torch.tensor(codes)
    if size_faults(list("abcde"), classes, held_out):
        return
    parts = stratified_split(classes, held_out, s)
    assert sorted(index for part in parts.values() for index in part.tolist()) == list(range(len(codes)))
    assert parts.keys() == {"train"} | {name for name, fraction in held_out.items() if fraction}
    for part in parts.values():
        assert set(classes[part].tolist()) == set(codes)
        assert part.tolist() == sorted(part.tolist())


def test_shares_are_those_of_each_class() -> None:
    parts = stratified_split(torch.tensor([0] * 100 + [1] * 10), {"val": 0.2, "test": 0.1}, seed=0)
    counts = {name: [int((part < 100).sum()), int((part >= 100).sum())] for name, part in parts.items()}
    assert counts == {"train": [70, 7], "val": [20, 2], "test": [10, 1]}


def test_the_seed_decides() -> None:
    def chosen(seed: int) -> list[int]:
        return stratified_split(torch.zeros(40, dtype=torch.int64), {"val": 0.5}, seed)["val"].tolist()

    assert chosen(1) == chosen(1) != chosen(2)


def test_classes_of_which_nothing_would_be_left_are_named() -> None:
    faults = size_faults(["cat", "dog"], torch.tensor([0, 1, 1, 1]), {"val": 0.2, "test": 0.0})
    assert len(faults) == 1
    assert "'cat' (1 of 'cat') to hold out val_fraction=0.2" in faults[0]
    assert "'dog'" not in faults[0]


@pytest.mark.parametrize(("val", "test"), [(-0.1, 0.0), (1.0, 0.0), (0.6, 0.5)])
def test_impossible_fractions_are_refused(val: float, test: float) -> None:
    with pytest.raises(ConfigError, match=f"val_fraction={val}, test_fraction={test}: each must be at least 0"):
        check_fractions({"val": val, "test": test})
