"""What a class is: its bases, and all that its body has made."""

from types import FunctionType
from typing import Any

from plt_nn.fingerprint.functions import Describe
from plt_nn.fingerprint.packages import package_of

# What says nothing of what is computed, or says again what the rest does.
_LEFT_OUT = frozenset(
    ("__module__", "__qualname__", "__doc__", "__dict__", "__weakref__", "__annotations__", "__abstractmethods__")
    + ("_abc_impl", "__parameters__", "__orig_bases__", "__type_params__", "__match_args__", "__firstlineno__")
    + ("__static_attributes__", "__annotate__", "__annotate_func__", "__annotations_cache__", "__dataclass_fields__")
    + ("__dataclass_params__", "_backward_cls")  # torch's, of an autograd.Function; it counts these
)


def of_class(kind: type, describe: Describe) -> list[object]:
    """The parts of a description of a class.

    Args:
        kind: Any class.
        describe: Describes what is in it.
    """
    name, package = f"{kind.__module__}.{kind.__qualname__}", package_of(kind.__module__)
    if package is None:
        own = {key: value for key, value in vars(kind).items() if key not in _LEFT_OUT}
    else:
        own = {key: value for key, value in vars(kind).items() if _is_put_in(value)}
    made_by = [] if type(kind) is type else [describe(type(kind))]
    bases = [describe(base) for base in kind.__bases__]
    return ["class", name, package, made_by, bases, [(key, describe(own[key])) for key in sorted(own)]]


def _is_put_in(value: Any) -> bool:
    """Whether somebody has put a function of his own into a class of a package."""
    return isinstance(value, FunctionType) and package_of(str(value.__globals__.get("__name__"))) is None
