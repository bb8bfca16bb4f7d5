"""Which failures are worth another try, and when. Pure."""

import random
from collections.abc import Iterator
from json import JSONDecodeError
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from requests import HTTPError

FIRST, LONGEST = 0.25, 5.0  # seconds; a server that works again is noticed within the longest

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
        is_http: Whether a server was asked. Then only an answer in MLflow's own form counts: a proxy, or a server
            that is starting, may answer anything.
    """
    from mlflow.exceptions import MlflowException, RestException
    from requests import HTTPError, RequestException

    if isinstance(error, HTTPError):  # from the endpoints for artifacts
        return _code_in(error) in _REFUSED
    if isinstance(error, TypeError | ValueError | OverflowError):  # before it was sent, or while the answer was read
        return not isinstance(error, RequestException | JSONDecodeError | UnicodeDecodeError)
    if not isinstance(error, RestException if is_http else MlflowException):
        return False
    return getattr(error, "error_code", None) in _REFUSED


def is_about_one_file(error: BaseException) -> bool:
    """Whether a server has answered that it does not want this very file, such as one that is too large for it."""
    from requests import HTTPError

    status = error.response.status_code if isinstance(error, HTTPError) and error.response is not None else None
    return status in (400, 411, 413, 414, 415, 422)


def _code_in(error: "HTTPError") -> str | None:
    """The code of an answer in MLflow's own form."""
    try:
        answer = error.response.json() if error.response is not None else None
    except ValueError:
        return None
    return answer.get("error_code") if isinstance(answer, dict) else None
