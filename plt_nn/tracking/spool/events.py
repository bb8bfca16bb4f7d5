"""The events of a spool: one JSON object a line. Pure.

Version 1. Every event has `kind`; times are milliseconds since 1970, fixed when something was logged:

| kind | other keys |
| --- | --- |
| `begin` | `version` `uid` `time` `experiment` `run_name` `uri` `tags` `parent` `resumed` `attempt` `node` |
| `metrics` | `time` `step` `metrics` |
| `params` | `params` |
| `tags` | `tags` |
| `artifact` | `file` (in the spool's folder) `path` (among the run's artifacts) |
| `remove` | `path` |
| `dataset` | `name` `context` `digest` `source` `profile` |
| `model` | `time` `file` (in the store's folder, or absolute) `metrics` `step` |
| `lost` | `rows` `reason` |
| `end` | `time` `status` (`FINISHED`, `FAILED` or `KILLED`) `reason` |
"""

import json
import math
from collections.abc import Mapping
from json.encoder import encode_basestring_ascii as _quoted
from typing import Any

_encode = json.JSONEncoder(separators=(",", ":"), default=str).encode  # json.dumps would make one for each event
VERSION = 1
Event = dict[str, Any]


def encoded(event: Mapping[str, Any]) -> bytes:
    """An event as a line. Values that JSON does not know become texts; NaN and infinities stay (Python reads them)."""
    if event["kind"] == "metrics" and math.isfinite(sum(event["metrics"].values())):
        # The same by hand: it happens at every step, and takes a third of the time.
        rows = ",".join([f"{_quoted(name)}:{value!r}" for name, value in event["metrics"].items()])
        return f'{{"kind":"metrics","time":{event["time"]},"step":{event["step"]},"metrics":{{{rows}}}}}\n'.encode()
    return _encode(event).encode() + b"\n"


def decoded(line: bytes) -> Event | None:
    """The event of a line; None for a line that was torn, which no closing brace can make whole."""
    try:
        event = json.loads(line)
    except ValueError:  # UnicodeDecodeError is one
        return None
    return event if isinstance(event, dict) and "kind" in event else None


def rows_in(event: Mapping[str, Any]) -> int:
    """How many rows of metrics an event holds."""
    return len(event["metrics"]) if event["kind"] == "metrics" else 0
