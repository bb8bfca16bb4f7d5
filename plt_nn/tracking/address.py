"""Where runs go: the store's own database, or a server."""

import os
import re
from pathlib import Path

from plt_nn.errors import ConfigError
from plt_nn.tracking.store import Store

_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")


def tracking_address(given: str | None, store: Store) -> str | None:
    """The address of MLflow, or None for the store's own database.

    Args:
        given: An address. Default: the environment variable `MLFLOW_TRACKING_URI`, else the store.
        store: The store.

    Raises:
        ConfigError: For a folder of files, which MLflow has given up, with the command that migrates it; for an
            address that is neither a server nor a database.
    """
    uri = (given or os.environ.get("MLFLOW_TRACKING_URI") or "").strip()
    if not uri or uri == store.uri:
        return None
    scheme = re.split(r"[:+]", uri, maxsplit=1)[0].lower() if "://" in uri else ""
    if scheme in ("http", "https", *_DATABASES):
        return uri
    if scheme == "file" or (not scheme and ":" not in uri):
        folder = Path(uri.removeprefix("file://"))
        raise ConfigError(
            f"The tracking address {uri!r} is a folder of files, which MLflow no longer writes to. Migrate it with\n"
            f"    mlflow migrate-filestore --source {folder} --target {store.uri}\n"
            "and leave the address out, or name a server (http://...) or a database (sqlite:///...)."
        )
    raise ConfigError(
        f"The tracking address {uri!r} cannot be used; expected a server (http://host:port), a database "
        f"({', '.join(f'{name}://' for name in _DATABASES)}), or none for the store in {store.root}."
    )
