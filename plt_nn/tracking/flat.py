"""Nested configuration as MLflow's flat parameters, with legal names and without secrets. Pure."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

_LONGEST_KEY, _LONGEST_VALUE = 250, 6000  # characters, MLflow's limits
_SECRET = re.compile(r"(?:^|[_.-])(token|password|passwd|secret|api[_-]?key|credentials?)(?:$|[_.-])", re.IGNORECASE)
_IN_ADDRESS = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_MASK = "***"
_Value = TypeVar("_Value")


def flat_params(values: Mapping[str, Any]) -> dict[str, str]:
    """Parameters by dotted name, in a form that MLflow accepts; secrets are masked.

    Args:
        values: Nested mappings and sequences with plain values at their ends.
    """
    ends = dict(_ends("", masked(values)))
    return {key: str(value)[:_LONGEST_VALUE] for key, value in legal_keys(ends).items()}


def masked(values: Any) -> Any:
    """The same nested values with what stands under keys that name a secret masked, and passwords in addresses."""
    if isinstance(values, Mapping):
        return {key: _mask_value(str(key), inner) for key, inner in values.items()}
    if isinstance(values, list | tuple):
        return [masked(inner) for inner in values]
    return _IN_ADDRESS.sub(_MASK, values) if isinstance(values, str) else values


def masked_words(words: Sequence[str]) -> list[str]:
    """The words of a command line with the values of options that name a secret masked."""
    told: list[str] = []
    for word in words:
        name, equals, _ = word.partition("=")
        if equals and name.startswith("-") and _SECRET.search(name.lstrip("-")):
            told.append(f"{name}={_MASK}")
        elif told and told[-1].startswith("-") and "=" not in told[-1] and _SECRET.search(told[-1].lstrip("-")):
            told.append(_MASK)
        else:
            told.append(_IN_ADDRESS.sub(_MASK, word))
    return told


def legal_keys(values: Mapping[str, _Value]) -> dict[str, _Value]:
    """The same values under names that MLflow takes: letters, digits, `_-. :/`, 250 characters, no part such as `..`.

    Names that become the same are told apart by a number.
    """
    legal: dict[str, _Value] = {}
    for key, value in values.items():
        parts = re.sub(r"[^\w\-. :/]", "_", str(key)).split("/")
        name = "/".join("_" if part in ("", ".", "..") else part for part in parts)[:_LONGEST_KEY].rstrip("/")
        number = 1
        while name in legal:
            number += 1
            name = f"{name[: _LONGEST_KEY - 5]}_{number}"
        legal[name] = value
    return legal


def _mask_value(key: str, value: Any) -> Any:
    is_number = isinstance(value, bool | int | float)  # such as timm's `class_token: true`
    return _MASK if value and not is_number and _SECRET.search(key) else masked(value)


def _ends(prefix: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, Mapping):
        items = [(str(key), inner) for key, inner in value.items()]
    elif isinstance(value, Sequence) and not isinstance(value, str) and any(isinstance(v, Mapping) for v in value):
        items = [(str(position), inner) for position, inner in enumerate(value)]
    else:
        return [(prefix, value)]
    return [end for key, inner in items for end in _ends(f"{prefix}.{key}" if prefix else key, inner)]
