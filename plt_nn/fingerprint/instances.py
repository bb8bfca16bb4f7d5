"""What an object holds."""

import copyreg
from collections.abc import Iterator
from types import FunctionType, MemberDescriptorType
from typing import Any

from plt_nn.errors import NotFingerprintable
from plt_nn.fingerprint.functions import Describe

_BY_HAND = ("__reduce__", "__reduce_ex__", "__getstate__")


def of_instance(value: Any, describe: Describe) -> list[object]:
    """The parts of a description of an object: its class, its attributes, and what it holds besides them.

    Args:
        value: Any object.
        describe: Describes what is in it.
    """
    kind = type(value)
    if kind is object or (not hasattr(value, "__dict__") and issubclass(kind, Iterator)):
        raise NotFingerprintable  # one that is told by its address alone; one that is another one after each step
    by_hand = any(isinstance(getattr(kind, name, None), FunctionType) for name in _BY_HAND)
    besides = None if by_hand and kind not in copyreg.dispatch_table else _besides(value)
    return ["instance", describe(kind), of_attributes(value, describe), describe(besides)]


def of_attributes(value: Any, describe: Describe) -> list[tuple[str, str]]:
    """The attributes of an object, by name.

    Args:
        value: Any object.
        describe: Describes each of them.
    """
    slots = {
        name: getattr(value, name)
        for base in type(value).__mro__
        for name, member in vars(base).items()
        if isinstance(member, MemberDescriptorType) and hasattr(value, name)
    }
    own = slots | getattr(value, "__dict__", {})
    return [(str(name), describe(own[name])) for name in sorted(own, key=str)]


def _besides(value: Any) -> object:
    """What makes an object again, without its attributes.

    Raises:
        Unknown: If it holds what Python cannot see.
    """
    reduce = copyreg.dispatch_table.get(type(value))
    try:
        reduced: Any = reduce(value) if reduce is not None else value.__reduce_ex__(4)
    except Exception as error:
        raise NotFingerprintable from error
    if isinstance(reduced, str):
        return reduced
    is_plain = reduced[0] is getattr(copyreg, "__newobj__", None)  # its third part is the attributes
    return tuple(reduced[1][1:]) if is_plain else tuple(reduced[:3])
