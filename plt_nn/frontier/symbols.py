"""Symbols of a trace that record in-place operators; torch.fx would trace `x += 1` as `x = x + 1`."""

import operator
from typing import Any

from torch import fx

_OPERATORS = ("iadd", "isub", "imul", "itruediv", "ifloordiv", "imod", "ipow", "imatmul", "iand", "ior", "ixor")


def in_place(value: Any, other: Any, name: str) -> Any:
    """The value after an in-place operator: the same tensor, or another number.

    Args:
        value: The left operand, which is changed.
        other: The right operand.
        name: The operator's name in the module `operator`, such as `iadd`.
    """
    return getattr(operator, name)(value, other)


class Symbol(fx.Proxy):
    """A value in a trace."""


def _record(name: str) -> Any:
    def record(self: Symbol, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", in_place, (self, other, name), {})

    return record


for _name in _OPERATORS:
    setattr(Symbol, f"__{_name}__", _record(_name))
