"""Callbacks that a callback cannot do without, and those that must be called after all others."""

from collections.abc import Iterable
from typing import TypeVar

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import Checkpoint

_Kind = TypeVar("_Kind", bound=Callback)


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


def all_callbacks(trainer: Trainer) -> list[Callback]:
    """The trainer's callbacks, in the order in which they are called."""
    callbacks: list[Callback] = getattr(trainer, "callbacks", [])  # an attribute that Lightning does not declare
    return list(callbacks)


def callbacks_of(trainer: Trainer, kind: type[_Kind]) -> list[_Kind]:
    """The trainer's callbacks of one class, in the order in which they are called."""
    return [callback for callback in all_callbacks(trainer) if isinstance(callback, kind)]


def callback_of(trainer: Trainer, kind: type[_Kind]) -> _Kind | None:
    """The trainer's first callback of one class, or None."""
    return next(iter(callbacks_of(trainer, kind)), None)
