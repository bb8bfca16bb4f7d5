"""Phases are checked at construction, all faults together, and the phase of an epoch is a pure function."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plt_nn.errors import ConfigError
from plt_nn.freezing import Phase, parse_phases, phase_at


def test_mappings_and_phases_are_both_taken() -> None:
    phases = parse_phases([{"train": "head"}, Phase(train="all", start=3, lr_scale=0.1)])
    assert phases == (Phase(train="head"), Phase(train="all", start=3, lr_scale=0.1))


def test_all_faults_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_phases([{"train": "head", "lr_scal": 0.1}, {"start": 2}, {"train": "all", "start": -1, "norm": "maybe"}])
    message = str(caught.value)
    assert "phases[0]: unknown key 'lr_scal'. Did you mean 'lr_scale'?" in message
    assert "phases[1]: 'train' is missing" in message
    assert "phases[2]: start is -1; expected an epoch, a whole number from 0" in message
    assert "phases[2]: norm is 'maybe'" in message


@pytest.mark.parametrize(
    ("phases", "message"),
    [
        ([], "there is no phase"),
        ([{"train": "head", "start": 2}], "the first phase starts at epoch 0"),
        ([{"train": "head"}, {"train": "all", "start": 0}], "expected an epoch after 0"),
        ([{"train": "head"}, {"train": "all", "start": 5}, {"train": "all", "start": 3}], "expected an epoch after 5"),
        ([{"train": []}], "a list of texts that is not empty"),
        ([{"train": "head", "lr_scale": 0}], "lr_scale is 0; expected a number above 0"),
        ([{"train": "head", "lr_scale": float("nan")}], "lr_scale is nan"),
        ([{"train": "head", "start": True}], "start is True"),
    ],
)
def test_each_fault_has_a_clear_message(phases: list[dict[str, object]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_phases(phases)


@given(starts=st.sets(st.integers(1, 1000), max_size=6), epoch=st.integers(0, 2000))
def test_the_phase_of_an_epoch_is_the_last_that_has_started(starts: set[int], epoch: int) -> None:
    phases = parse_phases([{"train": "all", "start": start} for start in [0, *sorted(starts)]])
    number = phase_at(phases, epoch)
    assert phases[number].start <= epoch
    assert all(later.start > epoch for later in phases[number + 1 :])


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["train", "start", "lr_scale", "norm", "nonsense"]),
            st.one_of(st.integers(-2, 9), st.floats(), st.text(max_size=5), st.none(), st.lists(st.text(max_size=3))),
        ),
        max_size=4,
    )
)
def test_any_list_of_phases_is_valid_or_refused_with_a_reason(phases: list[dict[str, object]]) -> None:
    try:
        parsed = parse_phases(phases)
    except ConfigError:
        return
    assert parsed[0].start == 0
    assert all(before.start < after.start for before, after in pairwise(parsed))
