"""The learning rate of each stage and the warm-up, by hand."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plt_nn.freezing import Phase
from plt_nn.freezing.rates import stage_factors, warmup_factor


@dataclass(frozen=True)
class Part:
    name: str
    parameters: tuple[str, ...]
    modules: tuple[str, ...] = ()


STAGES = [Part("stem", ("a",)), Part("body", ("b", "c")), Part("head", ("d",))]


def test_each_stage_learns_at_a_fraction_of_the_one_behind_it() -> None:
    factors = stage_factors(Phase("all", lr_scale=0.1, layer_decay=0.5), STAGES)
    assert factors == pytest.approx({"head": 0.1, "body": 0.05, "stem": 0.025})


def test_an_empty_head_is_not_counted() -> None:
    factors = stage_factors(Phase("all", layer_decay=0.5), [*STAGES[:2], Part("head", ())])
    assert factors == {"body": 1.0, "stem": 0.5}


def test_without_decay_all_stages_have_the_phases_factor() -> None:
    assert set(stage_factors(Phase("all", lr_scale=0.3), STAGES).values()) == {0.3}


def test_warmup_reaches_the_whole_rate_at_its_last_step() -> None:
    phase = Phase("all", warmup=4)
    assert [warmup_factor(phase, step) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert warmup_factor(Phase("all"), 0) == 1.0


@given(warmup=st.integers(0, 1000), step=st.integers(0, 2000))
def test_warmup_never_falls_and_is_never_zero(warmup: int, step: int) -> None:
    phase = Phase("all", warmup=warmup)
    assert 0 < warmup_factor(phase, step) <= warmup_factor(phase, step + 1) <= 1
