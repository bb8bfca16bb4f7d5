"""Describes classes by their bases and bodies, and objects by their class and attributes."""

import copyreg
from collections.abc import Iterator
from types import FunctionType, MemberDescriptorType
from typing import Any

from plt_nn.errors import NotFingerprintable
from plt_nn.fingerprint.functions import Describe
from plt_nn.fingerprint.packages import package_of

# Attributes of a class that do not affect what it computes, or repeat what the others say.
_IGNORED = frozenset(
    ("__module__", "__qualname__", "__doc__", "__dict__", "__weakref__", "__annotations__", "__abstractmethods__")
    + ("_abc_impl", "__parameters__", "__orig_bases__", "__type_params__", "__match_args__", "__firstlineno__")
    + ("__static_attributes__", "__annotate__", "__annotate_func__", "__annotations_cache__", "__dataclass_fields__")
    + ("__dataclass_params__", "_backward_cls")  # torch's, of an autograd.Function; it counts these
)
_PICKLING = ("__reduce__", "__reduce_ex__", "__getstate__")


def of_class(kind: type, describe: Describe) -> list[object]:
    """The parts of a description of a class.

    Args:
        kind: Any class. Of a package's class, only functions that others have put into it are described.
        describe: Describes what the class holds.
    """
    name, package = f"{kind.__module__}.{kind.__qualname__}", package_of(kind.__module__)
    if package is None:
        own = {key: value for key, value in vars(kind).items() if key not in _IGNORED}
    else:
        own = {key: value for key, value in vars(kind).items() if _is_foreign_function(value)}
    metaclass = [] if type(kind) is type else [describe(type(kind))]
    bases = [describe(base) for base in kind.__bases__]
    return ["class", name, package, metaclass, bases, [(key, describe(own[key])) for key in sorted(own)]]


def of_instance(value: Any, describe: Describe) -> list[object]:
    """The parts of a description of an object: its class, its attributes, and what else pickle would store.

    Raises:
        NotFingerprintable: For an object known by its address alone, an iterator, and what pickle cannot store.
    """
    kind = type(value)
    if kind is object or (not hasattr(value, "__dict__") and issubclass(kind, Iterator)):
        raise NotFingerprintable
    has_own_pickling = any(isinstance(getattr(kind, name, None), FunctionType) for name in _PICKLING)
    state = None if has_own_pickling and kind not in copyreg.dispatch_table else _state_besides_attributes(value)
    return ["instance", describe(kind), of_attributes(value, describe), describe(state)]


def of_attributes(value: Any, describe: Describe) -> list[tuple[str, str]]:
    """The descriptions of an object's attributes and slots, sorted by name."""
    slots = {
        name: getattr(value, name)
        for base in type(value).__mro__
        for name, member in vars(base).items()
        if isinstance(member, MemberDescriptorType) and hasattr(value, name)
    }
    own = slots | getattr(value, "__dict__", {})
    return [(str(name), describe(own[name])) for name in sorted(own, key=str)]


def _is_foreign_function(value: Any) -> bool:
    """Whether a function comes from the user's code, although it lies in a class of a package."""
    return isinstance(value, FunctionType) and package_of(str(value.__globals__.get("__name__"))) is None


def _state_besides_attributes(value: Any) -> object:
    """What pickle stores of an object besides its attributes, such as the items of a deque.

    Raises:
        NotFingerprintable: If it has state that Python cannot see.
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
