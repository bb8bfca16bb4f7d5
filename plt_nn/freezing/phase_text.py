"""Phases written in one line, as on a command line. Pure."""

import re
from typing import Any

from plt_nn.errors import ConfigError, refuse
from plt_nn.freezing.phases import Phase, parse_phases

_OPTION = re.compile(r"(?<!\S)(?P<key>[A-Za-z_][\w.]*)\s*=\s*(?P<value>[^\s=]+)(?!\S)")
_EXAMPLE = "'head; last 2 stages @3; all @500 steps lr_scale=0.1'"


def phases_from_text(text: str) -> tuple[Phase, ...]:
    """The phases that a text such as `"head; last 2 stages @3; all @plateau patience=3 lr_scale=0.1"` describes.

    Phases are separated by `;`. Each is what it trains (names and patterns separated by commas make a list), then `@`
    and when it starts (an epoch, `500 steps` or `plateau`), then any other arguments of a `Phase` as `key=value`, of
    its adapters as `adapt.key=value`. Start and arguments may be left out. A pattern that holds a `;`, `@`, `,` or
    `key=` needs a YAML file.

    Raises:
        ConfigError: Naming every fault at once, the phases counted from 0.
    """
    parts = [part.strip() for part in text.split(";")]
    if parts[-1] == "":
        parts.pop()  # a semicolon may also end a phase
    if not parts:
        raise ConfigError(f"There is no phase in {text!r}; expected phases such as {_EXAMPLE}.")
    parsed = [_phase(part) for part in parts]
    faults = [f"phases[{number}]: {fault}" for number, (_, found) in enumerate(parsed) for fault in found]
    refuse(f"The text of phases {text!r} (expected is one such as {_EXAMPLE})", faults)
    return parse_phases([values for values, _ in parsed])


def _phase(text: str) -> tuple[dict[str, Any], list[str]]:
    """The arguments of one phase, and what is wrong with its text."""
    values: dict[str, Any] = {}
    faults = []
    for option in _OPTION.finditer(text):
        key, value = option["key"], option["value"]
        faults += _put(values, key, _selection(value) if key == "adapt.target" else _value(value))
    words = " ".join(_OPTION.sub(" ", text).split())
    train, at, start = (part.strip() for part in words.partition("@"))
    if "=" in words:
        faults.append(f"{text!r} has an '=' that is not in an argument such as lr_scale=0.1")
    if not train:
        faults.append(f"{text!r} does not say what it trains, such as 'head' or 'last 2 stages'")
    if "" in _selection(train) and train:
        faults.append(f"{text!r} has an empty name beside a comma")
    if re.search(r"\d{19}", text):
        faults.append(f"{text!r} has a number of more than 18 digits")
    if at and (not start or "@" in start):
        faults.append(f"{text!r} needs one start after one '@': an epoch, '500 steps' or 'plateau'")
    names = _selection(train)
    given = {"train": names if len(names) > 1 else train} | ({"start": _value(start)} if start else {})
    faults += [f"{text!r} gives {key!r} twice; write it without {key}=" for key in given if key in values]
    return values | given, faults


def _put(values: dict[str, Any], key: str, value: int | float | str | list[str]) -> list[str]:
    """Sets `values["a"]["b"]` for the key `a.b`; returns what is wrong with it."""
    *outer, last = key.split(".")
    for name in outer:
        inner = values.setdefault(name, {})
        if not isinstance(inner, dict):
            return [f"{key!r} does not go with {name}={inner}"]
        values = inner
    if last in values:
        return [f"{key!r} is given twice"]
    values[last] = value
    return []


def _value(text: str) -> int | float | str:
    if re.fullmatch(r"-?[0-9]{1,18}", text):
        return int(text)
    try:
        return float(text)
    except ValueError:
        return text


def _selection(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]
