"""Whether somebody has changed a data set, as far as its attributes tell."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

_LARGE = 64_000_000  # bytes of arrays that are looked at in each epoch
_LONG = 10_000  # entries of a list, and of the lists in it
_DEEP = 4
_PLAIN = (bool, int, float, complex, str, bytes, type(None), Enum, Path, torch.dtype, torch.device)


class Watch:
    """Tells whether the attributes of an object have changed.

    Tensors are told by what torch counts of their changes, arrays and short lists by their content, transforms by their
    attributes, anything else by what it is. What merely reading a sample changes, such as a counter or a cache, tells
    nothing.

    Args:
        watched: A data set, or another object.
    """

    def __init__(self, watched: object) -> None:
        self._watched = watched
        self._facts: dict[str, object] | None = None
        self._of_reading: set[str] = set()

    @property
    def has_begun(self) -> bool:
        """Whether it is known how the object was."""
        return self._facts is not None

    def begin(self) -> None:
        """Notes how the object is."""
        self._facts = _Facts().of(self._watched)

    def end(self) -> None:
        """Lets go of it."""
        self._facts = None

    def has_changed(self) -> bool:
        """Whether the object is another one than at the beginning."""
        return self._facts is not None and bool(self._changed(self._facts) - self._of_reading)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """While it is entered samples are read, and nothing else is done."""
        before = _Facts().of(self._watched)
        try:
            yield
        finally:
            self._of_reading |= self._changed(before)

    def _changed(self, before: dict[str, object]) -> set[str]:
        """The names of attributes that are others."""
        after = _Facts().of(self._watched)
        return {name for name in before.keys() | after.keys() if before.get(name, ...) != after.get(name, ...)}


class _Is:
    """Something that is equal to itself alone. It is held, so that nothing else can come to lie at its address."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Is) and other._value is self._value

    def __hash__(self) -> int:
        return id(self._value)


class _Facts:
    """What is known of an object, to be compared; of large things not all."""

    def __init__(self) -> None:
        self._bytes_left = _LARGE

    def of(self, value: object, name: str = "", deep: int = _DEEP) -> dict[str, object]:
        """A fact about each attribute; of a data set in a data set, such as that of a `Subset`, about each of its own.

        Args:
            value: The object.
            name: What to put before the attributes' names.
            deep: How far to look into what is in it.
        """
        found: dict[str, object] = {}
        for attribute, held in getattr(value, "__dict__", {}).items():
            if isinstance(held, Dataset) and deep:
                found[name + attribute] = _Is(held)
                found |= self.of(held, f"{name}{attribute}.", deep - 1)
            else:
                found[name + attribute] = self._fact(held, deep, _LONG)
        return found

    def _fact(self, value: Any, deep: int, room: int) -> object:
        if isinstance(value, _PLAIN):
            return type(value), value if value == value else "nan"
        if isinstance(value, Tensor):
            return _Is(value), None if value.is_inference() else value._version
        if isinstance(value, np.ndarray) and value.nbytes <= self._bytes_left:
            self._bytes_left -= value.nbytes
            return value.shape, _checksum(value)
        if isinstance(value, list | tuple | set | frozenset | dict):
            return _Is(value), len(value), self._content(value, deep, room // max(len(value), 1))
        if deep and callable(value) and hasattr(value, "__dict__") and not isinstance(value, type):
            return _Is(value), self._content(vars(value), deep, room)
        return _Is(value)

    def _content(self, values: Any, deep: int, room: int) -> object:
        if not (deep and room):
            return None
        if isinstance(values, dict):
            return tuple((self._fact(key, 0, 0), self._fact(value, deep - 1, room)) for key, value in values.items())
        return tuple(self._fact(value, deep - 1, room) for value in values)


def _checksum(array: Any) -> int:
    is_bytes = array.flags.c_contiguous and array.dtype.kind in "biufc"
    return zlib.crc32(array if is_bytes else array.tobytes())
