"""Phases in one line: what is understood, and a reason for all that is not."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from plt_nn.errors import ConfigError
from plt_nn.freezing import Adapt, Phase, parse_phases
from plt_nn.freezing.phase_text import phases_from_text

PIECES = (
    *("head", "all", "last 2 stages", "last 30%", "blocks.6", "re:.*bias", ",", ";", "@", "3", "500 steps", "plateau"),
    *("lr_scale=0.1", "norm=train", "warmup=100", "patience=3", "adapt.rank=4", "a.b.c=1", "=", " ", "\n", "é", "-1"),
)


def test_a_text_says_what_a_list_of_phases_says() -> None:
    text = (
        "head; last 2 stages @3; all @500 steps lr_scale=0.1 layer_decay=0.75 warmup=100 norm=train; "
        "all @plateau patience=3"
    )
    assert phases_from_text(text) == (
        Phase("head"),
        Phase("last 2 stages", start=3),
        Phase("all", start="500 steps", lr_scale=0.1, layer_decay=0.75, warmup=100, norm="train"),
        Phase("all", start="plateau", patience=3),
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" head ;all@ 2 ; ", (Phase("head"), Phase("all", start=2))),
        ("head;\n last  30 %\n @4", (Phase("head"), Phase("last 30 %", start=4))),
        ("layer4, head", (Phase(["layer4", "head"]),)),
        (r"re:.*\.bias lr_scale = 1e-3", (Phase(r"re:.*\.bias", lr_scale=1e-3),)),
        ("head; lr_scale=0.5 all @1", (Phase("head"), Phase("all", start=1, lr_scale=0.5))),
        (
            "head; all @1 adapt.kind=lora adapt.rank=4 adapt.target=qkv,proj",
            (Phase("head"), Phase("all", start=1, adapt=Adapt(rank=4, target=["qkv", "proj"]))),
        ),
    ],
)
def test_spaces_lists_and_arguments(text: str, expected: tuple[Phase, ...]) -> None:
    assert phases_from_text(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "There is no phase"),
        (" ; ", "does not say what it trains"),
        ("head;; all @2", "phases[1]: '' does not say what it trains"),
        ("@3", "does not say what it trains"),
        ("head; all @", "needs one start after one '@'"),
        ("head; all @1 @2", "needs one start after one '@'"),
        ("head; all @1.5", "start is 1.5; expected an epoch"),
        ("head; all @soon", "start is 'soon'; expected an epoch"),
        ("head @2", "the first phase starts at epoch 0"),
        ("head; all @3; layer4 @2", "start is 2; expected an epoch after 3"),
        ("head lr_scal=0.1", "Did you mean 'lr_scale'?"),
        ("head lr_scale=big", "lr_scale is 'big'; expected a number above 0"),
        ("head lr_scale=nan", "lr_scale is nan; expected a number above 0"),
        ("head lr_scale=1 lr_scale=2", "'lr_scale' is given twice"),
        ("head; all @1 start=2", "gives 'start' twice"),
        ("head lr_scale=", "has an '=' that is not in an argument"),
        ("head,,all", "has an empty name beside a comma"),
        ("head; all @1 adapt=lora", "adapt is 'lora'; expected a mapping"),
        ("head; all @1 adapt=lora adapt.rank=2", "'adapt.rank' does not go with adapt=lora"),
        ("head; all @" + "9" * 5000 + " steps", "a number of more than 18 digits"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        phases_from_text(text)
    assert message in str(caught.value)


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        phases_from_text("@1; all @; head =")
    for number in range(3):
        assert f"phases[{number}]: " in str(caught.value)


@given(st.text(max_size=60) | st.lists(st.sampled_from(PIECES), max_size=12).map(" ".join))
@example("head; all @٣")
@example("head warmup=²")
def test_any_text_gives_phases_or_a_reason(text: str) -> None:
    try:
        phases = phases_from_text(text)
    except ConfigError:
        return
    assert phases
    assert parse_phases(phases) == phases
