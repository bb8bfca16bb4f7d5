"""The names by which runs are known before MLflow has given them its own."""

import calendar
import secrets
import time

UID_PATTERN = r"\d{8}-\d{6}-[0-9a-f]{8}"


def new_uid(now: float | None = None) -> str:
    """A name for a run: when it was made, in UTC, and eight random digits, such as `20261124-133254-1f2e3d4c`.

    Args:
        now: Seconds since 1970. Default: now.
    """
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}-{secrets.token_hex(4)}"


def began(uid: str) -> int:
    """When a run was made; seconds since 1970."""
    return calendar.timegm(time.strptime(uid[:15], "%Y%m%d-%H%M%S"))
