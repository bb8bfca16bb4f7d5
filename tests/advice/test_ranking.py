"""Rounds of ranking when time runs out; whole rankings are in tests/cli/rank/test_rank.py."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from plt_nn.advice import ranking
from plt_nn.advice.candidates import Candidate
from plt_nn.advice.net_costs import NetCosts
from plt_nn.advice.ranking import LabelledImages, Ranking, ScoredCandidate, rank
from plt_nn.features.cache_location import CacheLocation
from tests.advice.test_plans import judged

SMALL, LARGE = Candidate("timm/small", True, 96), Candidate("timm/large", True, 224)
RIGHT = {SMALL: 185, LARGE: 184}  # of 200: the data cannot tell them apart


class Stub:
    """Judges by what is written above, as often as it is let."""

    def __init__(self, let: int) -> None:
        self.let, self.asked = let, list[tuple[Candidate, int]]()

    def judge(self, candidate: Candidate, samples: int, is_last: bool, costs: NetCosts | None) -> Any:
        self.asked.append((candidate, samples))
        if len(self.asked) > self.let:
            return ranking._Found(None, f"{candidate}: not tried on {samples} images, for the time was over.", 0, True)
        right = RIGHT[candidate]
        found: ScoredCandidate = replace(judged(right=(right, right, right)), candidate=candidate, samples=samples)
        return ranking._Found(found, "", samples)

    def is_over(self) -> bool:
        return len(self.asked) >= self.let


def ranked(let: int, budget: float, candidates: Iterable[Candidate] = (LARGE, SMALL)) -> tuple[Ranking, Stub]:
    stub = Stub(let)
    labels = np.arange(240, dtype=np.int64) % 2
    data = LabelledImages([Path(f"{number}.png") for number in range(240)], labels, ("ant", "bee"))
    with patch.object(ranking, "_Work", lambda *arguments: stub):
        return rank(list(candidates), data, CacheLocation(None, 0, 0), budget=budget), stub


def test_all_rounds() -> None:
    found, stub = ranked(99, float("inf"))
    assert [one.candidate for one in found.judged] == [SMALL, LARGE]
    assert found.samples == 240
    assert [samples for _, samples in stub.asked][:2] == [120, 120]
    assert found.left_out == []


def test_with_many_classes_the_first_round_has_some_of_each() -> None:
    labels = np.arange(1000, dtype=np.int64) % 100
    data = LabelledImages([Path(f"{number}.png") for number in range(1000)], labels, [str(code) for code in range(100)])
    stub = Stub(99)
    with patch.object(ranking, "_Work", lambda *arguments: stub):
        rank([LARGE, SMALL], data, CacheLocation(None, 0, 0))
    assert {samples for _, samples in stub.asked} == {1000}, "half of them would be too few of a class"


def test_a_round_that_is_not_finished_says_nothing() -> None:
    found, _ = ranked(3, 60)  # one of the two is judged on more images
    assert [one.candidate for one in found.judged] == [SMALL, LARGE]
    assert {one.samples for one in found.judged} == {120}
    assert all(one.in_last_round for one in found.judged)
    assert "The round on 240 images was not finished: the order is that of the round before." in found.left_out


def test_of_a_first_round_that_is_not_finished_the_cheap_ones_count() -> None:
    found, stub = ranked(1, 60)
    assert [one.candidate for one in found.judged] == [SMALL]
    assert stub.asked[0] == (SMALL, 120)
    assert "large, 224 px: not tried on 120 images, for the time was over." in found.left_out
