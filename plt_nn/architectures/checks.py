"""The one check of a net's arguments: what their type hints ask for, all faults in one error."""

from collections.abc import Callable, Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from torch import nn

from plt_nn.architectures.activations import create_activation
from plt_nn.architectures.initialisation import initialise
from plt_nn.errors import ConfigError, did_you_mean, refuse

_PROBABILITIES = ("dropout", "drop_path")


def check_arguments(net: type, arguments: Mapping[str, Any], *rules: tuple[Callable[[], bool], str]) -> None:
    """Refuses arguments that a net cannot be built with.

    By their type hints, whole numbers must be at least 1, also in lists, and words must be those of their `Literal`;
    `dropout` and `drop_path` must lie in [0, 1). Activation and initialisation must be known and take their arguments.

    Args:
        net: The class of the net; not `type(self)`, because a subclass may have other arguments.
        arguments: The arguments of its `__init__` by name; `locals()` will do.
        rules: What else must hold, and the fault if it does not. A rule that cannot be evaluated is passed over: one of
            its arguments has a fault already.

    Raises:
        ConfigError: If there is a fault; all are reported together.
    """
    hints = {name: hint for name, hint in get_type_hints(vars(net)["__init__"]).items() if name in arguments}
    faults = [fault for name, hint in hints.items() for fault in _faults(name, arguments[name], hint)]
    if "activation" in arguments:
        faults += _faults_of(create_activation, arguments["activation"], **(arguments["activation_kwargs"] or {}))
    faults += _faults_of(initialise, nn.Identity(), arguments["init"], **(arguments["init_kwargs"] or {}))
    refuse(net.__name__, [*faults, *(fault for holds, fault in rules if not _holds(holds))])


def word_faults(name: str, word: object, valid: Sequence[str]) -> list[str]:
    """The fault of a word that must be one of the `valid` ones."""
    return [] if word in valid else [f"{name} is {word!r}.{did_you_mean(str(word), valid)}"]


def _faults(name: str, value: Any, hint: Any) -> list[str]:
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    words = [word for kind in kinds if get_origin(kind) is Literal for word in get_args(kind)]
    if value is None and NoneType in kinds:
        return []
    if words:
        return word_faults(name, value, words)
    if name in _PROBABILITIES:
        return [] if 0 <= value < 1 else [f"{name} is {value!r}; expected 0 <= {name} < 1"]
    if int in kinds or Sequence[int] in kinds:
        numbers, expected = (value, "whole numbers") if isinstance(value, Sequence) else ([value], "a whole number")
        positive = all(type(number) is int and number >= 1 for number in numbers)
        return [] if positive else [f"{name} is {value!r}; expected {expected} of at least 1"]
    return []


def _faults_of(function: Callable[..., object], *args: Any, **kwargs: Any) -> Sequence[str]:
    """The faults of the `ConfigError` that a call raises; none if it raises no such error."""
    try:
        function(*args, **kwargs)
    except ConfigError as error:
        return error.faults
    return []


def _holds(rule: Callable[[], bool]) -> bool:
    try:
        return rule()
    except (TypeError, ZeroDivisionError):
        return True
