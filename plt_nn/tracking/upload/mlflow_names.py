"""Names and values in a form that MLflow accepts. Pure."""

import math
import re
from collections.abc import MutableMapping

LONGEST_KEY = 250  # characters
LONGEST_PARAM = 6000
LONGEST_TAG = 5000  # MLflow 3.17 accepts 8,000, older servers fewer


def mlflow_name(name: str, known: MutableMapping[str, str], most: int = LONGEST_KEY) -> str:
    """The name under which MLflow accepts a metric, parameter, tag: letters, digits, `_-. :/`, no part such as `..`.

    Args:
        name: Any name.
        known: The accepted names so far, by the names given; a new one is added. Where two would become the same, the
            later one gets a number.
        most: The longest name, in characters.
    """
    if name in known:
        return known[name]
    parts = re.sub(r"[^\w\-. :/]", "_", name).split("/")
    accepted = "/".join("_" if part.strip() in ("", ".", "..") else part for part in parts)[:most]
    while accepted.rpartition("/")[2].strip() in ("", ".", ".."):  # after shortening
        accepted = accepted.rpartition("/")[0]
    accepted = f"_{accepted[1:]}" if accepted.startswith("..") else accepted
    taken = set(known.values())
    number, candidate = 1, accepted
    while candidate in taken:
        number += 1
        candidate = f"{accepted[: most - 5]}_{number}"
    known[name] = candidate
    return candidate


def mlflow_path(path: str) -> str:
    """The path under which MLflow accepts an artifact: relative, without characters special in an address."""
    parts = re.sub(r"[#?%\\\x00-\x1f\x7f]", "_", path).split("/")
    return "/".join(part for part in parts if part not in ("", ".", "..")) or "_"


def shortened(text: str, most: int) -> str:
    """A text that can be stored, with its end replaced by an ellipsis if it is too long."""
    text = text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()
    return text if len(text) <= most else text[: most - 1] + "…"


def mlflow_value(value: float) -> float:
    """A metric's value: MLflow stores infinities as 1.8e308, which ruins charts, so they become NaN."""
    return value if math.isfinite(value) else math.nan
