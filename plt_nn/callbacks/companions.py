"""Callbacks that a callback cannot do without."""

from collections.abc import Iterable

from lightning.pytorch import Callback


def with_companions(callbacks: Iterable[Callback], *kinds: type[Callback]) -> list[Callback]:
    """The callbacks, and at their end one of each kind that is not yet among them.

    Args:
        callbacks: The trainer's callbacks.
        kinds: Callbacks that take no arguments.
    """
    found = list(callbacks)
    return found + [kind() for kind in kinds if not any(isinstance(callback, kind) for callback in found)]
