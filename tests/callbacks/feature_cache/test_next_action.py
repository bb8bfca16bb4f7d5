"""What is done about cached features when an epoch begins, case by case."""

from typing import Any

import pytest
from torch import nn

from plt_nn.callbacks.feature_cache.next_action import Action, FrozenState, frozen_state, next_action

HEAD = FrozenState(1, (False, True), (False, True))
DEEPER = FrozenState(1, (True, True), (True, True))
OTHER_NET = FrozenState(2, (False, True), (False, True))

# What is frozen now, what was when features were last cached, when they were given up, what has changed, what to do.
CASES: dict[str, tuple[FrozenState | None, FrozenState | None, FrozenState | None, dict[str, bool], Action]] = {
    "nothing is frozen": (None, None, None, {}, Action.OFF),
    "nothing is frozen any more": (None, HEAD, None, {}, Action.OFF),
    "the net is compiled": (HEAD, HEAD, None, {"is_compiled": True}, Action.OFF),
    "a first phase": (HEAD, None, None, {}, Action.REBUILD),
    "the same phase": (HEAD, HEAD, None, {}, Action.KEEP),
    "another phase": (DEEPER, HEAD, None, {}, Action.REBUILD),
    "another net": (OTHER_NET, HEAD, None, {}, Action.REBUILD),
    "another phase after training the weights": (DEEPER, HEAD, None, {"is_unchanged": False}, Action.REBUILD),
    "the same weights were loaded": (HEAD, HEAD, None, {"is_rewritten": True}, Action.RENEW),
    "something moves the weights": (HEAD, HEAD, None, {"is_unchanged": False}, Action.GIVE_UP),
    "and torch counts it": (HEAD, HEAD, None, {"is_unchanged": False, "is_rewritten": True}, Action.GIVE_UP),
    "and loaders are new": (HEAD, HEAD, None, {"is_unchanged": False, "are_loaders_new": True}, Action.GIVE_UP),
    "they were given up": (HEAD, None, HEAD, {}, Action.OFF),
    "they were given up in another phase": (DEEPER, None, HEAD, {}, Action.REBUILD),
    "an attribute of the net has changed": (HEAD, HEAD, None, {"is_current": False}, Action.REBUILD),
    "the loaders are new": (HEAD, HEAD, None, {"are_loaders_new": True}, Action.REBUILD),
    "and the weights were loaded": (HEAD, HEAD, None, {"are_loaders_new": True, "is_rewritten": True}, Action.REBUILD),
}


@pytest.mark.parametrize("case", CASES)
def test_each_case_has_its_action(case: str) -> None:
    now, opened_for, given_up_for, changes, expected = CASES[case]
    assert next_action(now, opened_for, given_up_for, **changes) is expected


CHANGES: dict[str, Any] = {
    "another net": lambda net: nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)),
    "more is frozen": lambda net: net.requires_grad_(False),
    "less is frozen": lambda net: net.requires_grad_(True),
    "other modes": lambda net: net.eval(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_state_tells_what_is_frozen(change: str) -> None:
    net = nn.Sequential(nn.Linear(2, 2).requires_grad_(False), nn.Linear(2, 2))
    before = frozen_state(net)
    nn.init.zeros_(net[1].weight)  # type: ignore[arg-type]
    assert frozen_state(net) == before
    assert frozen_state(CHANGES[change](net)) != before
