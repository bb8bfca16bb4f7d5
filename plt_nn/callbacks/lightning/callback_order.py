"""Callbacks that a callback cannot do without, and those that must be called after all others."""

from collections.abc import Iterable

from lightning.pytorch import Callback
from lightning.pytorch.callbacks import Checkpoint


class RunsLast(Callback):
    """A callback that is called after all others, checkpoint callbacks included; those of lower `order` come first."""

    order = 1


def with_companions(callbacks: Iterable[Callback], *kinds: type[Callback]) -> list[Callback]:
    """The callbacks, and one of each kind that is not yet among them.

    Args:
        callbacks: The trainer's callbacks.
        kinds: Callbacks that take no arguments.
    """
    found = list(callbacks)
    missing = [kind() for kind in kinds if not any(isinstance(callback, kind) for callback in found)]
    return in_order(found + missing)


def with_closing(callbacks: Iterable[Callback], closing: RunsLast) -> list[Callback]:
    """The callbacks with one that is called after them, in place of an earlier one of its class."""
    return in_order([*(callback for callback in callbacks if type(callback) is not type(closing)), closing])


def before_checkpoints(callbacks: Iterable[Callback], callback: Callback) -> list[Callback]:
    """The callbacks with one of them right before those that write checkpoints, and so after all others."""
    others = [other for other in callbacks if other is not callback]
    keepers = [other for other in others if isinstance(other, Checkpoint)]
    return in_order([*(other for other in others if other not in keepers), callback, *keepers])


def in_order(callbacks: Iterable[Callback]) -> list[Callback]:
    """The callbacks in their order, but those that close at the end."""
    return sorted(callbacks, key=lambda callback: callback.order if isinstance(callback, RunsLast) else 0)
