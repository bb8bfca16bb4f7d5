"""What an audit finds, in sentences: what is wrong, how serious it is, and how to mend it."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One thing that an audit has found.

    Args:
        kind: What it is about, in a few words.
        severity: `error`: results cannot be trusted as it is; `warning`: results may suffer; `note`: useful to know.
        sentence: What was found.
        mend: How to mend it; may be empty.
        rows: The images of the scan that it is about, those worth a look first.
    """

    kind: str
    severity: Severity
    sentence: str
    mend: str = ""
    rows: tuple[int, ...] = ()

    @property
    def text(self) -> str:
        """What was found and how to mend it."""
        return f"{self.sentence} {self.mend}".rstrip()


def printable(name: str) -> str:
    """The name of a file as text: on Linux names are bytes, which need not be valid text."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
