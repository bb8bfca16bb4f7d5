"""Nested configuration as flat parameters, without secrets. Pure."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

_SECRET = re.compile(r"(?:^|[_.-])(token|password|passwd|secret|api[_-]?key|credentials?)(?:$|[_.-])", re.IGNORECASE)
_IN_ADDRESS = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_MASK = "***"
_ASSIGNED = re.compile(  # in a text, such as a line of YAML, TOML or Python
    r"(?i)(\b[\w-]*(?:token|password|passwd|secret|api[_-]?key|credentials?)[\"']?\s*[:=]\s*)([\"']?)[^\s\"',}]+"
)


def flat_params(values: Mapping[str, Any]) -> dict[str, str]:
    """Nested mappings and sequences of plain values as texts by dotted name; secrets are masked."""
    return {key: str(value) for key, value in _leaves("", masked(values))}


def masked(values: Any) -> Any:
    """The same nested values, with the values of keys that name a secret and passwords in addresses masked."""
    if isinstance(values, Mapping):
        return {key: _mask_value(str(key), inner) for key, inner in values.items()}
    if isinstance(values, list | tuple):
        return [masked(inner) for inner in values]
    return masked_text(values) if isinstance(values, str) else values


def masked_words(words: Sequence[str]) -> list[str]:
    """The words of a command line with the values of options that name a secret masked."""
    shown: list[str] = []
    for word in words:
        name, equals, _ = word.partition("=")
        if equals and name.startswith("-") and _SECRET.search(name.lstrip("-")):
            shown.append(f"{name}={_MASK}")
        elif shown and shown[-1].startswith("-") and "=" not in shown[-1] and _SECRET.search(shown[-1].lstrip("-")):
            shown.append(_MASK)
        else:
            shown.append(masked_text(word))
    return shown


def masked_text(text: str) -> str:
    """A text with passwords in addresses masked."""
    return _IN_ADDRESS.sub(_MASK, text)


def masked_code(text: str) -> str:
    """A text of code or configuration, with what is assigned to names of secrets and passwords in addresses masked."""
    return masked_text(_ASSIGNED.sub(rf"\1\2{_MASK}", text))


def _mask_value(key: str, value: Any) -> Any:
    is_number = isinstance(value, bool | int | float)  # such as timm's `class_token: true`
    return _MASK if value and not is_number and _SECRET.search(key) else masked(value)


def _leaves(prefix: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, Mapping):
        items = [(str(key), inner) for key, inner in value.items()]
    elif isinstance(value, Sequence) and not isinstance(value, str) and any(isinstance(v, Mapping) for v in value):
        items = [(str(position), inner) for position, inner in enumerate(value)]
    else:
        return [(prefix, value)]
    return [leaf for key, inner in items for leaf in _leaves(f"{prefix}.{key}" if prefix else key, inner)]
