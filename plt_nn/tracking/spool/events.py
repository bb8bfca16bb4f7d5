"""What a spool holds, one event a line as JSON: the events, and the only code that writes and reads them. Pure.

A line is a JSON object with the event's `kind` and its fields. Reading ignores fields it does not know and turns a kind
it does not know into `UnknownEvent`, so that older and newer versions read each other's spools (`tests/tracking/spool`
has one of version 0.1.0). Times are milliseconds since 1970, taken when something was logged.
"""

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from json.encoder import encode_basestring_ascii as _quoted
from typing import Any

VERSION = 1


def now() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Begin:
    """A process begins to log the run, the first one or one that resumes it."""

    uid: str
    experiment: str
    run_name: str | None = None  # None: MLflow makes one up
    uri: str | None = None  # the address of MLflow, without a password; None: the store's own database
    tags: Mapping[str, str] = field(default_factory=dict)
    parent: str | None = None  # the uid or MLflow's id of the run of which it is a child
    resumed: bool = False  # whether the run continues from a checkpoint
    node: int = 0  # the machine, from 0
    attempt: int = 1  # how many processes have begun to log into this spool, this one included
    host: str = ""
    pid: int = 0
    time: int = field(default_factory=now)
    version: int = VERSION


@dataclass(frozen=True, slots=True)
class Metrics:
    """Values of metrics at a step."""

    step: int
    metrics: Mapping[str, float]
    time: int = field(default_factory=now)


@dataclass(frozen=True, slots=True)
class Params:
    """Parameters, flat."""

    params: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Tags:
    """Tags of the run."""

    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file for the run's artifacts: `file` in the spool's folder, `path` among the artifacts."""

    file: str
    path: str


@dataclass(frozen=True, slots=True)
class RemovedArtifact:
    """An artifact that the run no longer has."""

    path: str


@dataclass(frozen=True, slots=True)
class UsedDataset:
    """A data set that the run uses: its use (`context`), a digest of its content, its place, facts about it."""

    name: str
    context: str
    digest: str
    source: str
    profile: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class BestLogged:
    """The file of the best weights so far, in the store's folder or absolute, and what they have reached."""

    file: str
    metrics: Mapping[str, float]
    step: int
    time: int = field(default_factory=now)


@dataclass(frozen=True, slots=True)
class LostRows:
    """Rows of metrics that could not be written."""

    rows: int
    reason: str


@dataclass(frozen=True, slots=True)
class End:
    """The run has ended: FINISHED, FAILED or KILLED; status None on a machine that does not speak for the run."""

    status: str | None
    reason: str | None = None
    time: int = field(default_factory=now)


@dataclass(frozen=True, slots=True)
class UnknownEvent:
    """An event of a later version, or one without a field that it needs, as it was read."""

    values: Mapping[str, Any]


KnownEvent = Begin | Metrics | Params | Tags | Artifact | RemovedArtifact | UsedDataset | BestLogged | LostRows | End
Event = KnownEvent | UnknownEvent
KINDS: dict[str, type[Any]] = {
    "begin": Begin,
    "metrics": Metrics,
    "params": Params,
    "tags": Tags,
    "artifact": Artifact,
    "remove": RemovedArtifact,
    "dataset": UsedDataset,
    "model": BestLogged,
    "lost": LostRows,
    "end": End,
}
_KIND_OF = {event: kind for kind, event in KINDS.items()}
_FIELDS = {event: tuple(each.name for each in fields(event)) for event in _KIND_OF}
_OPTIONAL = {"host", "pid"}  # fields that spools of earlier versions lack
_REQUIRED = {event: {*names} - _OPTIONAL for event, names in _FIELDS.items()}
_to_text = json.JSONEncoder(separators=(",", ":"), default=str).encode  # json.dumps would make one for each event


def encode(event: Event) -> bytes:
    """An event as a line. Values that JSON does not know become texts; NaN and infinities stay (Python reads them)."""
    if isinstance(event, Metrics) and math.isfinite(sum(event.metrics.values())):
        # The same by hand: it happens at every step, and takes a third of the time.
        rows = ",".join([f"{_quoted(name)}:{value!r}" for name, value in event.metrics.items()])
        return f'{{"kind":"metrics","time":{event.time},"step":{event.step},"metrics":{{{rows}}}}}\n'.encode()
    return _to_text(to_plain(event)).encode() + b"\n"


def decode(line: bytes) -> Event | None:
    """The event of a line; None for a line that was torn, which no closing brace can make whole."""
    try:
        return from_plain(json.loads(line))
    except ValueError:  # UnicodeDecodeError is one
        return None


def to_plain(event: Event) -> dict[str, Any]:
    """An event as the JSON object of its line."""
    if isinstance(event, UnknownEvent):
        return dict(event.values)
    kind = type(event)
    return {"kind": _KIND_OF[kind], **{name: getattr(event, name) for name in _FIELDS[kind]}}


def from_plain(values: Any) -> Event | None:
    """The event of a JSON object; None for anything without a kind."""
    if not isinstance(values, dict) or "kind" not in values:
        return None
    kind = KINDS.get(str(values["kind"]))
    if kind is None or not _REQUIRED[kind] <= values.keys():
        return UnknownEvent(values)
    event: Event = kind(**{name: values[name] for name in _FIELDS[kind] if name in values})
    return event


def is_line_of(line: bytes, kind: type[Event]) -> bool:
    """Whether a line holds an event of a class, judged by its first bytes alone."""
    return line.startswith(f'{{"kind":"{_KIND_OF[kind]}"'.encode())


def rows_in(event: Event | None) -> int:
    """How many rows of metrics an event holds."""
    return len(event.metrics) if isinstance(event, Metrics) else 0
