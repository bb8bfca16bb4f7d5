"""How MLflow is reached: addresses, logins, and clients whose failures are one error of ours."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

from plt_nn.errors import TrackingError
from plt_nn.text import first_line
from plt_nn.tracking.masking import masked_text
from plt_nn.tracking.tags import DATA_CONTEXT

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

# MLflow's settings hold for a whole process. What the user has set stays.
SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # default 7, which takes minutes: whoever asks tries again, or is a person
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",  # seconds; default 120
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


def set_defaults() -> None:
    """Sets `SETTINGS` for this process, before MLflow is imported."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)


def mlflow_client(uri: str) -> "MlflowClient":
    """MLflow's client of a server or database; its import takes a second."""
    set_defaults()
    from mlflow.tracking import MlflowClient

    return MlflowClient(uri)


@contextmanager
def asking(uri: str, purpose: str) -> Iterator[None]:
    """Turns every failure of MLflow in the block into a `TrackingError` that names the address.

    Args:
        uri: The address; a password in it is masked.
        purpose: What is asked, after "MLflow at http://host:5000": `cannot list its runs`.
    """
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, OSError) as error:
        # requests raises OSErrors
        raise TrackingError(f"MLflow at {masked_text(uri)} {purpose}: {first_line(error)}") from error


def data_digests(run: "Run") -> dict[str, str]:
    """The digest of each data set of a run in MLflow, by its use, such as `validation`."""
    inputs = run.inputs.dataset_inputs if run.inputs is not None else []
    return {tag.value: each.dataset.digest for each in inputs for tag in each.tags if tag.key == DATA_CONTEXT}


def is_server(uri: str | None) -> bool:
    """Whether an address is that of a server, rather than a database or nothing."""
    return uri is not None and uri.startswith(("http://", "https://"))


def without_password(uri: str) -> tuple[str, dict[str, str]]:
    """An address without the user's name and password, and these as MLflow's environment variables.

    Args:
        uri: An address such as `https://user:password@mlflow.example.org`; that of a database is returned unchanged.
    """
    parts = urlsplit(uri)
    if not is_server(uri) or "@" not in parts.netloc:
        return uri, {}
    login, _, host = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    found = {"MLFLOW_TRACKING_USERNAME": unquote(user), "MLFLOW_TRACKING_PASSWORD": unquote(password)}
    return urlunsplit(parts._replace(netloc=host)), {name: value for name, value in found.items() if value}
