"""What the rounds of a ranking hold and in which order; whole rankings are in tests/cli/rank/test_rank.py."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plt_nn.advice import ranking
from plt_nn.advice.candidates import Candidate
from plt_nn.advice.ranking import LabelledImages, rank
from plt_nn.features.cache_location import CacheLocation

SMALL, LARGE = Candidate("timm/small", True, 96), Candidate("timm/large", True, 224)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The candidates and the sizes of the rounds that a ranking asks for."""
    calls: list[Any] = []

    def halving(candidates: list[Candidate], sizes: list[int], *arguments: Any) -> tuple[list[Any], list[str]]:
        calls[:] = [candidates, sizes]
        return [], []

    monkeypatch.setattr(ranking, "halving", halving)
    return calls


def images(count: int, classes: int) -> LabelledImages:
    labels = np.arange(count, dtype=np.int64) % classes
    return LabelledImages([Path(f"{number}.png") for number in range(count)], labels, [str(c) for c in range(classes)])


def test_with_many_classes_the_first_round_has_some_of_each(asked: list[Any]) -> None:
    rank([LARGE, SMALL], images(240, 2), CacheLocation(None, 0, 0))
    assert asked[1] == [120, 240]
    rank([LARGE, SMALL], images(1000, 100), CacheLocation(None, 0, 0))
    assert asked[1] == [1000], "half of them would be too few of a class"


def test_with_a_budget_the_cheap_ones_come_first(asked: list[Any]) -> None:
    rank([SMALL, LARGE], images(240, 2), CacheLocation(None, 0, 0))
    assert asked[0] == [LARGE, SMALL]
    rank([LARGE, SMALL], images(240, 2), CacheLocation(None, 0, 0), budget=60)
    assert asked[0] == [SMALL, LARGE]
