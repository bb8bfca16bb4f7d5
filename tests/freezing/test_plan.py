"""What a phase trains and what it holds in eval mode, by names alone."""

from dataclasses import dataclass

import pytest

from plt_nn.errors import ConfigError
from plt_nn.freezing.plan import held_modules, trained_parameters


@dataclass(frozen=True)
class AStage:
    name: str
    parameters: tuple[str, ...]
    modules: tuple[str, ...]


STAGES = [
    AStage("stem", ("stem.conv.weight", "stem.bn.weight"), ("stem.conv", "stem.bn")),
    AStage("blocks.0", ("blocks.0.conv.weight",), ("blocks.0.conv", "blocks.0.drop")),
    AStage("blocks.1", ("blocks.1.conv.weight", "blocks.1.bn.weight"), ("blocks.1.conv", "blocks.1.bn")),
    AStage("head", ("head.weight", "head.bias"), ("head",)),
]
SIZES = {name: 10 for stage in STAGES for name in stage.parameters} | {"head.weight": 50, "head.bias": 10}
HEAD = {"head.weight", "head.bias"}
LAST = {"blocks.1.conv.weight", "blocks.1.bn.weight"}


@pytest.mark.parametrize(
    ("train", "expected"),
    [
        ("head", HEAD),
        ("last 1 stage", HEAD | LAST),
        ("last 2 stages", HEAD | LAST | {"blocks.0.conv.weight"}),
        ("last 50%", HEAD),
        ("last 60 %", HEAD | LAST),
        ("all", set(SIZES)),
        (["blocks.0", "head"], HEAD | {"blocks.0.conv.weight"}),
        ("blocks.*.weight", LAST | {"blocks.0.conv.weight"}),
        (r"re:.*\.bias", {"head.bias"}),
    ],
)
def test_what_is_trained(train: str | list[str], expected: set[str]) -> None:
    assert trained_parameters(train, STAGES, SIZES) == expected


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ("last 4 stages", "this net has 3 before its head; expected a number from 1 to 3"),
        ("last 0 stages", "expected a number from 1 to 3"),
        ("last 101%", "at most 100 percent"),
        ("blocks.7", "Did you mean 'blocks.1'"),
        ("haed", "Did you mean 'head'"),
        ("re:(", "is not a regular expression"),
        ("re:nothing", "matches no stage and no parameter"),
    ],
)
def test_a_selection_that_cannot_be_is_refused_with_the_nearest_names(train: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        trained_parameters(train, STAGES, SIZES)
    assert message in str(caught.value)


def test_what_trains_nothing_is_held_with_its_containers() -> None:
    held = held_modules(STAGES, frozenset(HEAD | LAST))
    assert held == {"stem", "stem.conv", "stem.bn", "blocks.0", "blocks.0.conv", "blocks.0.drop"}


def test_within_a_stage_only_what_is_frozen_is_held() -> None:
    held = held_modules(STAGES, frozenset({"blocks.1.bn.weight", *HEAD}))
    assert "blocks.1.conv" in held
    assert "blocks.1.bn" not in held
    assert "blocks.1" not in held


def test_nothing_is_held_when_all_is_trained() -> None:
    assert held_modules(STAGES, frozenset(SIZES)) == frozenset()
