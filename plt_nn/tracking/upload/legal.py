"""Names and values in a form that MLflow takes. Pure."""

import math
import re
from collections.abc import MutableMapping

LONGEST_KEY = 250  # characters
LONGEST_PARAM = 6000
LONGEST_TAG = 5000  # MLflow 3.17 takes 8,000, older servers less


def legal_name(name: str, known: MutableMapping[str, str], most: int = LONGEST_KEY) -> str:
    """The name under which MLflow takes a metric, parameter, tag: letters, digits, `_-. :/`, no part such as `..`.

    Args:
        name: Any name.
        known: The legal names so far, by the name given: what would become the same is told apart by a number. A new
            one is added.
        most: How long it may be, in characters.
    """
    if name in known:
        return known[name]
    parts = re.sub(r"[^\w\-. :/]", "_", name).split("/")
    legal = "/".join("_" if part.strip() in ("", ".", "..") else part for part in parts)[:most].rstrip("/")
    taken = set(known.values())
    number, candidate = 1, legal
    while candidate in taken:
        number += 1
        candidate = f"{legal[: most - 5]}_{number}"
    known[name] = candidate
    return candidate


def shortened(text: str, most: int) -> str:
    """A text, with its end replaced by an ellipsis if it is too long."""
    return text if len(text) <= most else text[: most - 1] + "…"


def legal_value(value: float) -> float:
    """A metric's value: MLflow stores infinities as 1.8e308, which ruins charts, so they become NaN."""
    return value if math.isfinite(value) else math.nan
