"""Phases are checked at construction, all faults together, and the phase of an epoch is a pure function."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plt_nn.errors import ConfigError
from plt_nn.freezing import Adapt, Phase, parse_phases
from plt_nn.freezing.phases import phase_at


def test_mappings_and_phases_are_both_taken() -> None:
    phases = parse_phases([{"train": "head"}, Phase(train="all", start=3, lr_scale=0.1)])
    assert phases == (Phase(train="head"), Phase(train="all", start=3, lr_scale=0.1))


def test_null_is_the_default_and_a_number_may_be_written_as_yaml_does_not_take_it() -> None:
    given = {"train": "head", "lr_scale": "1e-3", "warmup": "1e2", "norm": None, "patience": None, "adapt": None}
    assert parse_phases([given]) == (Phase("head", lr_scale=1e-3, warmup=100),)
    (phase,) = parse_phases([{"train": "all", "adapt": {"alpha": "1e1", "target": None}}])
    assert phase.adapt == Adapt(alpha=10.0)


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
        ([{"train": "head"}, {"train": "all", "start": "5 epochs"}], "or 'plateau'"),
        ([{"train": "head"}, {"train": "all", "start": "0 steps"}], "expected more than 0 steps"),
        (
            [{"train": "head"}, {"train": "all", "start": "90 steps"}, {"train": "all", "start": "80 steps"}],
            "expected more than 90 steps",
        ),
        ([{"train": "head", "start": "plateau"}], "the first phase starts at epoch 0"),
        ([{"train": "head", "patience": 3}], "this one does not wait for a plateau"),
        ([{"train": "head"}, {"train": "all", "start": "plateau", "patience": 0}], "patience is 0"),
        ([{"train": "head", "layer_decay": 1.5}], "layer_decay is 1.5; expected a number above 0 and at most 1"),
        ([{"train": "head", "warmup": -1}], "warmup is -1; expected a whole number from 0"),
        ([{"train": "head", "warmup": "1.5e0"}], "warmup is 1.5; expected a whole number from 0"),
        ([{"train": "head", "adapt": {"kind": "lora", "rang": 8}}], "unknown key 'rang'. Did you mean 'rank'"),
        ([{"train": "head", "adapt": {"rank": 0, "target": []}}], "rank is 0"),
    ],
)
def test_each_fault_has_a_clear_message(phases: list[dict[str, object]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_phases(phases)


@given(starts=st.sets(st.integers(1, 1000), max_size=6), epoch=st.integers(0, 2000))
def test_the_phase_of_an_epoch_is_the_last_that_has_started(starts: set[int], epoch: int) -> None:
    phases = parse_phases([{"train": "all", "start": start} for start in [0, *sorted(starts)]])
    number = phase_at(phases, epoch)
    assert _number(phases[number].start) <= epoch
    assert all(_number(later.start) > epoch for later in phases[number + 1 :])


@given(
    starts=st.lists(st.sampled_from(["plateau", "3 steps", "40 steps", "500 steps", 2, 4, 9]), max_size=5),
    reached=st.sets(st.integers(0, 6)),
    moments=st.lists(st.tuples(st.integers(0, 20), st.integers(0, 900)), min_size=1),
)
def test_phases_of_any_kind_of_start_only_go_forward(
    starts: list[int | str], reached: set[int], moments: list[tuple[int, int]]
) -> None:
    try:
        phases = parse_phases([{"train": "all", "start": start} for start in [0, *starts]])
    except ConfigError:
        return
    sorted_moments = list(zip(*(sorted(values) for values in zip(*moments, strict=True)), strict=True))
    numbers = [phase_at(phases, epoch, step, reached) for epoch, step in sorted_moments]
    assert numbers == sorted(numbers)
    for (epoch, step), number in zip(sorted_moments, numbers, strict=True):
        start = phases[number].start
        in_force = number in reached if start == "plateau" else (start <= epoch if isinstance(start, int) else True)
        assert in_force
        assert isinstance(start, int) or start == "plateau" or int(start.split()[0]) <= step


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["train", "start", "lr_scale", "norm", "layer_decay", "warmup", "patience", "adapt", "no"]),
            st.one_of(
                st.sampled_from(["plateau", "8 steps", "head"]),
                st.integers(-2, 9),
                st.floats(),
                st.text(max_size=5),
                st.none(),
                st.lists(st.text(max_size=3)),
            ),
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
    for kind in (int, str):
        starts = [phase.start for phase in parsed if isinstance(phase.start, kind) and phase.start != "plateau"]
        assert all(_number(before) < _number(after) for before, after in pairwise(starts))


def _number(start: int | str) -> int:
    return start if isinstance(start, int) else int(start.split()[0])
