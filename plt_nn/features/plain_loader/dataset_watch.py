"""Whether somebody has changed a data set, judged by its attributes."""

import zlib
from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

_LARGE = 64_000_000  # bytes of arrays that are read in each epoch
_LONG = 10_000  # entries of a list, and of the lists in it
_DEEP = 4
_PLAIN = (bool, int, float, complex, str, bytes, type(None), Enum, Path, torch.dtype, torch.device)
_FIXED = frozenset({bool, int, float, complex, str, bytes, type(None)})
_NONE = (type(None), None)  # the fact of an attribute that is None


class Changed(NamedTuple):
    """Names of attributes that have changed.

    Attributes:
        opened: Those that were None or missing, and are now an object that is not looked into, such as an open file.
        others: All other ones.
    """

    opened: frozenset[str]
    others: frozenset[str]

    @property
    def all(self) -> frozenset[str]:
        """The names in both sets."""
        return self.opened | self.others


class DatasetWatch:
    """Compares the attributes of an object with those it had at the beginning.

    Tensors are compared by identity and by torch's count of changes in place, arrays and short lists by content,
    transforms by their attributes, and all other objects by identity. What merely reading a sample changes, such as a
    counter or a cache, is to be named by `ignore`.
    """

    def __init__(self, watched: object) -> None:
        self._watched = watched
        self._facts: dict[str, object] | None = None
        self._of_reading: set[str] = set()

    @property
    def has_begun(self) -> bool:
        """Whether the attributes have been noted."""
        return self._facts is not None

    def begin(self) -> None:
        """Notes the attributes as they are now."""
        self._facts = _Facts().of(self._watched)

    def end(self) -> None:
        """Drops what was noted."""
        self._facts = None

    def ignore(self, names: Iterable[str]) -> None:
        """Ignores attributes from now on, because reading a sample changes them."""
        self._of_reading |= set(names)

    def changed(self) -> Changed:
        """The attributes that have changed since the beginning; none before it."""
        if self._facts is None:
            return Changed(frozenset(), frozenset())
        before, after = self._facts, _Facts().of(self._watched)
        names = (before.keys() | after.keys()) - self._of_reading
        found = frozenset(name for name in names if before.get(name, ...) != after.get(name, ...))
        opened = frozenset(name for name in found if before.get(name, _NONE) == _NONE and _is_opaque(after.get(name)))
        return Changed(opened, found - opened)


class _Is:
    """An object compared by identity. It is held, so that no other object can get its address."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Is) and other._value is self._value

    def __hash__(self) -> int:
        return id(self._value)

    @property
    def is_callable(self) -> bool:
        """Whether the object can be called, as a transform can."""
        return callable(self._value)


class _Facts:
    """Collects facts about an object that can be compared; of large values only a part is read."""

    def __init__(self) -> None:
        self._remaining_bytes = _LARGE

    def of(self, value: object, name: str = "", deep: int = _DEEP) -> dict[str, object]:
        """A fact about each attribute, including those of data sets inside it, such as that of a `Subset`.

        Args:
            value: The object.
            name: Prefix of the attributes' names.
            deep: How many levels of objects to look into.
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
        if isinstance(value, np.ndarray) and value.nbytes <= self._remaining_bytes:
            self._remaining_bytes -= value.nbytes
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
        return _fixed(values) or tuple(self._fact(value, deep - 1, room) for value in values)


def _fixed(values: Any) -> object:
    """The fact of plain values, or of tuples of them, which is fast to make; None for other values."""
    kinds = set(map(type, values))
    if kinds <= _FIXED:
        return tuple(map(type, values)), tuple(values)
    if kinds == {tuple} and all(_FIXED.issuperset(map(type, value)) for value in values):
        return tuple(map(id, values)), tuple(values)  # held, so that no other object can get their ids
    return None


def _is_opaque(fact: object) -> bool:
    """Whether a fact is the identity of an object that cannot be called, and so does not transform samples."""
    return isinstance(fact, _Is) and not fact.is_callable


def _checksum(array: Any) -> int:
    is_bytes = array.flags.c_contiguous and array.dtype.kind in "biufc"
    return zlib.crc32(array if is_bytes else array.tobytes())
