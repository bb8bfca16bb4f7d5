"""What the uploader's process finds in its environment."""

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

import plt_nn

# Set for the uploader alone, for MLflow's settings hold for a whole process. What the user has set stays.
_DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # it tries again by itself, and knows for how long
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "OMP_NUM_THREADS": "1",
}


def without_password(uri: str) -> tuple[str, dict[str, str]]:
    """An address without the user's name and password, and these as MLflow's environment variables.

    Args:
        uri: An address such as `https://user:password@mlflow.example.org`; that of a database is left as it is.
    """
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https") or "@" not in parts.netloc:
        return uri, {}
    login, _, host = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    found = {"MLFLOW_TRACKING_USERNAME": unquote(user), "MLFLOW_TRACKING_PASSWORD": unquote(password)}
    return urlunsplit(parts._replace(netloc=host)), {name: value for name, value in found.items() if value}


def set_defaults() -> None:
    """Sets MLflow's defaults of the uploader for this process."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)


def uploader_environment(login: dict[str, str]) -> dict[str, str]:
    """The environment of the uploader: that of this process, the login, and settings that suit an uploader."""
    package = str(Path(plt_nn.__file__).parent.parent)
    paths = [path for path in (os.environ.get("PYTHONPATH"), package) if path]
    return _DEFAULTS | os.environ | login | {"PYTHONPATH": os.pathsep.join(paths), "CUDA_VISIBLE_DEVICES": ""}
