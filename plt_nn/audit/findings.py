"""What an audit has to say, in sentences: what is wrong, how grave it is, and how to mend it."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One thing that an audit has found.

    Args:
        kind: What it is about, in a few words.
        severity: `error`: results cannot be trusted as it is; `warning`: results may suffer; `note`: good to know.
        sentence: What was found.
        mend: How to mend it; may be empty.
        rows: The images of the scan that it is about, those worth a look first.
    """

    kind: str
    severity: Severity
    sentence: str
    mend: str = ""
    rows: tuple[int, ...] = ()


def gravest_first(findings: list[Finding]) -> tuple[Finding, ...]:
    """Findings by how grave they are, else in the order in which they were found."""
    return tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)))


def images_of(count: int) -> str:
    """`1 image`, `2 images`."""
    return f"{count:,} image{'' if count == 1 else 's'}"


def printable(name: str) -> str:
    """The name of a file as a text: names are bytes on Linux, and need not be text at all."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def listed(names: list[str], most: int = 3) -> str:
    """Names as part of a sentence, shortened where there are many."""
    told = ", ".join(names[:most])
    return told if len(names) <= most else f"{told} and {len(names) - most:,} more"
