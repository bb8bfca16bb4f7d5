"""Checks of a net's arguments: each returns the faults it found, so that one error can report them all."""

from collections.abc import Callable, Sequence
from typing import Any

from plt_nn.errors import ConfigError, did_you_mean


def positive(**sizes: int | Sequence[int]) -> list[str]:
    """Faults of arguments that must be whole numbers of at least 1, or lists of such numbers."""
    faults = []
    for name, size in sizes.items():
        numbers, expected = (size, "whole numbers") if isinstance(size, Sequence) else ([size], "a whole number")
        if not all(_is_positive(number) for number in numbers):
            faults.append(f"{name} is {size!r}; expected {expected} of at least 1")
    return faults


def not_empty(**lists: Sequence[int]) -> list[str]:
    """Faults of lists that must have at least one entry."""
    return [f"{name} is empty; expected at least one number" for name, numbers in lists.items() if len(numbers) == 0]


def probability(**rates: float) -> list[str]:
    """Faults of arguments that must lie in [0, 1)."""
    return [f"{name} is {rate!r}; expected 0 <= {name} < 1" for name, rate in rates.items() if not 0 <= rate < 1]


def one_of(valid: Sequence[str], **words: str | None) -> list[str]:
    """Faults of arguments that must be one of the `valid` words, or None."""
    return [
        f"{name} is {word!r}.{did_you_mean(word, valid)}"
        for name, word in words.items()
        if word is not None and word not in valid
    ]


def faults_of(function: Callable[..., object], *args: Any, **kwargs: Any) -> list[str]:
    """The faults of the `ConfigError` that a call raises; none if it raises no such error."""
    try:
        function(*args, **kwargs)
    except ConfigError as error:
        return list(error.faults)
    return []


def _is_positive(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and number >= 1
