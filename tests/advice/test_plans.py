"""The plan that the evidence speaks for, and what is said for it."""

from dataclasses import replace

import numpy as np
import pytest

from plt_nn.advice.candidates import Candidate
from plt_nn.advice.net_costs import NetCosts
from plt_nn.advice.plans import MeasuredCandidate, Plan, propose, reasons_of_order, worth_verifying
from plt_nn.advice.probes.depth import Depth, advised_depth, depths_of, selection
from plt_nn.advice.probes.probe import LinearProbe
from plt_nn.advice.ranking import Ranking, ScoredCandidate
from plt_nn.freezing import parse_phases

SAMPLES = 200
EPOCHS = {"last 2 stages": 3.0, "all": 8.0}  # seconds of each


def told(right: int) -> LinearProbe:
    """A probe that tells so many of the samples rightly, and is fairly sure of all."""
    labels = np.arange(SAMPLES) % 2
    sure = np.where(np.arange(SAMPLES) < right, 0.9, 0.1)
    by_class = np.stack([np.where(labels == code, sure, 1 - sure) for code in (0, 1)], 1)
    return LinearProbe(by_class, labels)


def judged(
    name: str = "timm/resnet18", right: tuple[int, int, int] = (150, 181, 180), forward: float = 1e9
) -> ScoredCandidate:
    depths = [Depth(n, what, told(count)) for n, what, count in zip((0, 2, 8), ("head", *EPOCHS), right, strict=True)]
    costs = NetCosts(10_000, forward, None)
    curve = {"layer3": told(170), "layer4": told(160)}
    return ScoredCandidate(Candidate(name, True, 128), SAMPLES, 0.5, 0.01, costs, curve, depths)


def plan(one: ScoredCandidate, depth: int, shift: float | None = 0.2, samples: int = SAMPLES) -> Plan:
    return propose(one, one.depths[depth], MeasuredCandidate(shift, EPOCHS, {"drop_rate": 0.1}), samples)


def said(plan: Plan, words: str) -> str:
    (found,) = [reason for reason in plan.reasons if words in reason]
    return found


def test_the_head_alone() -> None:
    made = plan(judged(), 0)
    assert made.phases == [{"train": "head"}]
    assert made.model_args == {"drop_rate": 0.1}
    assert made.seconds == pytest.approx(SAMPLES * 0.01)  # what is frozen, once
    assert "75.0% with the last feature alone, 90.0% with all stages'" in said(made, "Train the head alone")
    assert not any("learning rate" in reason or "BatchNorm" in reason for reason in made.reasons)


def test_deeper_with_images_like_those_of_the_pretraining() -> None:
    made = plan(judged(), 1)
    head, deep = made.phases
    assert head == {"train": "head"}
    assert deep == {"train": "last 2 stages", "start": deep["start"], "lr_scale": 0.1}
    assert 0 < deep["start"] < made.epochs
    assert made.seconds == pytest.approx(2 * SAMPLES * 0.01 + (made.epochs - deep["start"]) * 3)
    assert "these stages add to the last one's (75.0% with the last feature alone, 90.5% with theirs)" in " ".join(
        made.reasons
    )
    assert "carry furthest at layer3: 85.0%" in said(made, "carry furthest")
    assert "is 0.1 of the head's, for your images are not far" in said(made, "lie 0.20 standard deviations")
    assert "keeps the statistics" in said(made, "BatchNorm keeps")
    parse_phases([dict(phase) for phase in made.phases])


def test_images_far_from_those_of_the_pretraining() -> None:
    made = plan(judged(), 2, shift=0.7)
    assert made.phases[1] == {"train": "all", "start": made.phases[1]["start"], "lr_scale": 0.3}
    assert "is 0.3 of the head's, for your images are far" in said(made, "lie 0.70 standard deviations")


def test_a_net_without_batchnorm() -> None:
    made = plan(judged(), 2, shift=None)
    assert made.phases[1]["lr_scale"] == 0.1
    assert "a rule of thumb" in said(made, "is 0.1 of the head's")
    assert not any("BatchNorm" in reason for reason in made.reasons)


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_few_images_are_seen_more_often(depth: int) -> None:
    epochs = [plan(judged(), depth, samples=samples).epochs for samples in (2, 20, 200, 2_000, 200_000)]
    assert epochs == sorted(epochs, reverse=True)
    assert epochs[0] > epochs[-1] >= 2
    assert all(plan(judged(), depth, samples=samples).patience >= 4 for samples in (2, 200_000))


def test_a_head_alone_may_go_on_for_long_and_ends_by_its_patience() -> None:
    alone, deep = plan(judged(), 0), plan(judged(), 2)
    assert alone.epochs > 3 * deep.epochs
    assert alone.patience == deep.patience == 10


def test_a_time_that_is_not_known() -> None:
    one = judged()
    measured = MeasuredCandidate(None, {}, {})
    assert propose(one, one.depths[2], measured, SAMPLES).seconds is None


def test_the_head_alone_where_nothing_is_better_beyond_chance_else_the_best() -> None:
    assert advised_depth(judged().depths).train == "last 2 stages"
    assert advised_depth(judged(right=(150, 180, 181)).depths).train == "all"
    assert advised_depth(judged(right=(179, 180, 181)).depths).train == "head"
    assert advised_depth(judged(right=(120, 150, 190)).depths).train == "all"


@pytest.mark.parametrize(
    ("body", "expected"), [(0, [0]), (1, [0, 1]), (2, [0, 1, 2]), (4, [0, 1, 2, 4]), (9, [0, 3, 5, 9])]
)
def test_depths_of_a_body(body: int, expected: list[int]) -> None:
    assert depths_of(body) == expected
    words = [selection(stages, body) for stages in expected]
    assert words[0] == "head"
    assert body == 0 or words[-1] == "all"
    assert len(set(words)) == len(words)


def ranking(*ranked: ScoredCandidate) -> Ranking:
    return Ranking(ranked, ("ant", "bee"), SAMPLES, [], 0, 1.0)


def test_what_is_put_to_the_test() -> None:
    first, second = judged("timm/a"), judged("timm/b", (150, 178, 178))
    pairs = worth_verifying(ranking(first, second), 3)
    assert [(one.candidate.name, depth.train) for one, depth in pairs] == [
        ("timm/a", "last 2 stages"),  # the advice
        ("timm/a", "all"),  # then by loss
        ("timm/b", "last 2 stages"),
    ]


def test_why_it_is_the_first() -> None:
    first, rival = judged("timm/a"), judged("timm/b", (150, 178, 178), forward=2e8)
    told_of = reasons_of_order(ranking(first, rival))
    assert "a, 128 px" in told_of[0]
    assert "90.5% of 200 training images" in told_of[0]
    assert "b, 128 px cannot be told apart from it by these images (89.0%), and costs 20% of it" in told_of[1]
    dear = replace(rival, costs=first.costs)
    assert "it costs no more than they do" in reasons_of_order(ranking(first, dear))[1]
    alone = reasons_of_order(ranking(first, judged("timm/b", (100, 100, 100))))
    assert len(alone) == 1
