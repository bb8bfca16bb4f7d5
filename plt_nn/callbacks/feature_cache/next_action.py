"""What is to be done about cached features when an epoch begins. Pure."""

from enum import Enum
from typing import NamedTuple

from torch import nn


class Action(Enum):
    """What to do about the cached features of a split."""

    OFF = "off"  # serve none: nothing is frozen, the net is compiled, or they were given up
    KEEP = "keep"  # continue
    RENEW = "renew"  # continue; the frozen weights were written again, bit for bit
    REBUILD = "rebuild"  # cut the net anew: another part is frozen, the net has changed, or the loaders are new
    GIVE_UP = "give up"  # something else changes what is frozen, such as an average of weights


class FrozenState(NamedTuple):
    """What decides where a net stops being frozen.

    Args:
        net: The net's id.
        needs: Which parameters require gradients.
        modes: Which submodules are in training mode.
    """

    net: int
    needs: tuple[bool, ...]
    modes: tuple[bool, ...]


def frozen_state(net: nn.Module) -> FrozenState:
    """The state of a net now."""
    needs = tuple(parameter.requires_grad for parameter in net.parameters())
    return FrozenState(id(net), needs, tuple(part.training for part in net.modules()))


def next_action(
    now: FrozenState | None,
    opened_for: FrozenState | None,
    given_up_for: FrozenState | None = None,
    *,
    is_compiled: bool = False,
    is_unchanged: bool = True,
    is_rewritten: bool = False,
    is_current: bool = True,
    are_loaders_new: bool = False,
) -> Action:
    """Decides from what is frozen now and what was frozen when features were last cached.

    Args:
        now: What is frozen now; None if nothing is.
        opened_for: What was frozen when features were last cached; None if there are none.
        given_up_for: What was frozen when they were given up; None if they were not.
        is_compiled: Whether the net is compiled.
        is_unchanged: Whether every bit of the frozen part is unchanged. This and the following count only if the same
            part is frozen as when features were last cached.
        is_rewritten: Whether the frozen weights were written again.
        is_current: Whether the net has not changed otherwise.
        are_loaders_new: Whether the loaders were made anew.
    """
    if now is None or now == given_up_for or is_compiled:
        return Action.OFF
    if now != opened_for:
        return Action.REBUILD
    if not is_unchanged:
        return Action.GIVE_UP
    if are_loaders_new or not is_current:
        return Action.REBUILD
    return Action.RENEW if is_rewritten else Action.KEEP
