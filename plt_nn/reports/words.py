"""Numbers and states as people read them. Pure."""

import math
import time

from plt_nn.text import duration
from plt_nn.tracking import tags
from plt_nn.tracking.read.runs import VANISHED, RunRecord

_STATES = {"FINISHED": "finished", "RUNNING": "running", "FAILED": "failed", "KILLED": "killed", "SCHEDULED": "waiting"}


def number(value: float | None) -> str:
    """A value with five significant digits; a dash for none."""
    return "–" if value is None or math.isnan(value) else f"{value:.5g}"


def short_count(value: float | None) -> str:
    """A large number with a unit: 4.65 M."""
    if value is None or math.isnan(value):
        return "–"
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f}"


def device_hours(hours: float | None) -> str:
    """The cost of a run in hours times devices."""
    return "–" if hours is None else f"{hours:.3g} h" if hours >= 0.01 else f"{hours * 3600:.0f} s"


def ago(milliseconds: int, now: float | None = None) -> str:
    """How long ago a time was."""
    return duration(max(0.0, (time.time() if now is None else now) - milliseconds / 1000))


def state(run: RunRecord) -> str:
    """The state of a run in words, and why it ended before its time."""
    word = _STATES.get(run.status, run.status.lower())
    reason = run.tags.get(tags.FAILURE, "")
    if run.status in ("FINISHED", "RUNNING") or not reason:
        return word
    if reason == VANISHED:
        return "killed without a word"
    if reason.startswith("Interrupted"):
        return "stopped by Ctrl-C"
    if reason.startswith("Ended by SIGTERM"):
        job = run.tags.get(tags.SLURM_JOB)
        return f"ended by SIGTERM (SLURM job {job})" if job else "ended by SIGTERM"
    return f"{word}: {' '.join(reason.split())}"
