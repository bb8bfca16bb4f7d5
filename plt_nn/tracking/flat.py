"""Nested configuration as MLflow's flat parameters. Pure."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

_LONGEST = 6000  # characters, MLflow's limit of a parameter's value
_SECRET = re.compile(r"(?:^|[_.-])(token|password|passwd|secret|api_?key|credentials?)(?:$|[_.-])", re.IGNORECASE)


def flat_params(values: Mapping[str, Any]) -> dict[str, str]:
    """Parameters by dotted name, in a form that MLflow accepts; the values of keys that name a secret are masked.

    Args:
        values: Nested mappings and sequences with plain values at their ends.
    """
    return {_legal(key): _masked(key, str(value))[:_LONGEST] for key, value in _ends("", values)}


def masked(values: Any) -> Any:
    """The same nested values with those of keys that name a secret masked."""
    if isinstance(values, Mapping):
        return {key: "***" if _SECRET.search(str(key)) and inner else masked(inner) for key, inner in values.items()}
    if isinstance(values, list | tuple):
        return [masked(inner) for inner in values]
    return values


def _ends(prefix: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, Mapping):
        items = [(str(key), inner) for key, inner in value.items()]
    elif isinstance(value, Sequence) and not isinstance(value, str) and any(isinstance(v, Mapping) for v in value):
        items = [(str(position), inner) for position, inner in enumerate(value)]
    else:
        return [(prefix, value)]
    return [end for key, inner in items for end in _ends(f"{prefix}.{key}" if prefix else key, inner)]


def _masked(key: str, value: str) -> str:
    return "***" if _SECRET.search(key) else value


def _legal(key: str) -> str:
    return re.sub(r"[^\w\-. :/]", "_", key)[:250]
