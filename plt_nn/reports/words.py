"""Numbers and states as people read them. Pure."""

import math
import time

from plt_nn.tracking import tags
from plt_nn.tracking.read.runs import VANISHED, RunRecord

_STATES = {"FINISHED": "finished", "RUNNING": "running", "FAILED": "failed", "KILLED": "killed", "SCHEDULED": "waiting"}


def number(value: float | None) -> str:
    """A value with five significant digits; a dash for none."""
    return "–" if value is None or math.isnan(value) else f"{value:.5g}"


def count(value: float | None) -> str:
    """A large number with a unit: 4.65 M."""
    if value is None or math.isnan(value):
        return "–"
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f}"


def duration(seconds: float | None) -> str:
    """A time: 48 s, 12 min 5 s, 3 h 20 min, 2 d 4 h."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def device_hours(hours: float | None) -> str:
    """What a run cost."""
    return "–" if hours is None else f"{hours:.3g} h" if hours >= 0.01 else f"{hours * 3600:.0f} s"


def ago(milliseconds: int, now: float | None = None) -> str:
    """How long ago a time was."""
    return duration(max(0.0, (time.time() if now is None else now) - milliseconds / 1000))


def state(run: RunRecord) -> str:
    """How a run stands, and what it died of."""
    told = _STATES.get(run.status, run.status.lower())
    reason = run.tags.get(tags.FAILURE, "")
    if run.status in ("FINISHED", "RUNNING") or not reason:
        return told
    if reason == VANISHED:
        return "killed without a word"
    if reason.startswith("Interrupted"):
        return "stopped by Ctrl-C"
    if reason.startswith("Ended by SIGTERM"):
        job = run.tags.get(tags.SLURM_JOB)
        return f"ended by SIGTERM (SLURM job {job})" if job else "ended by SIGTERM"
    return f"{told}: {' '.join(reason.split())}"
