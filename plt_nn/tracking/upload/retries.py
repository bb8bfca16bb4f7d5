"""Which failures are worth another try, and when. Pure."""

import random
from collections.abc import Iterator

FIRST, LONGEST = 0.25, 5.0  # seconds; a server that is back is noticed within the longest

_REFUSED = {"INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "BAD_REQUEST", "RESOURCE_ALREADY_EXISTS"}


def pauses() -> Iterator[float]:
    """Seconds between tries: doubling up to the longest, with jitter, so that many uploaders do not knock together."""
    pause = FIRST
    while True:
        yield pause * random.uniform(0.5, 1.0)  # noqa: S311
        pause = min(2 * pause, LONGEST)


def is_refused(error: BaseException, is_http: bool) -> bool:
    """Whether MLflow itself has refused what was sent, so that sending it again is of no use.

    Args:
        error: What MLflow's client raised.
        is_http: Whether a server was asked. Then only an answer in MLflow's own form counts: a proxy in its place, or a
            server that is starting, answers anything.
    """
    from mlflow.exceptions import MlflowException, RestException

    if not isinstance(error, RestException if is_http else MlflowException):
        return False
    return getattr(error, "error_code", None) in _REFUSED


def in_words(error: BaseException) -> str:
    """What went wrong, in a line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:299] + "…"
