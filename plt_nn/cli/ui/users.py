"""Who may log in to the UI: the configuration, the database and the secret of MLflow's basic-auth app, in the store."""

import os
import secrets
import sqlite3
from collections.abc import Mapping
from configparser import ConfigParser
from contextlib import closing
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from packaging.version import Version

from plt_nn.errors import ConfigError
from plt_nn.tracking import Store

_USER, _PASSWORD, _SECRET = "MLFLOW_AUTH_ADMIN_USERNAME", "MLFLOW_AUTH_ADMIN_PASSWORD", "MLFLOW_FLASK_SERVER_SECRET_KEY"


@dataclass(frozen=True)
class Users:
    """The users of a store.

    Args:
        database: The file of the users.
        admin: The name of the first user, who may do everything.
        new_password: That user's password if a random one has just been made, else None.
        environment: Variables for the server process. They hold secrets, so they never stand on a command line.
    """

    database: Path
    admin: str
    new_password: str | None = field(repr=False)
    environment: Mapping[str, str] = field(repr=False)


def users_of(store: Store, environment: Mapping[str, str] | None = None) -> Users:
    """The users of a store, in its folder `auth`, which only the owner can read; made at first use.

    Args:
        store: The store.
        environment: May name the first user (MLFLOW_AUTH_ADMIN_USERNAME, default: admin) and give the password
            (MLFLOW_AUTH_ADMIN_PASSWORD, default: a random one). Default: this process's environment.

    Raises:
        ConfigError: If the extra `auth` is not installed, or the password is too weak.
    """
    given = os.environ if environment is None else environment
    # Before 3.16 MLflow ignores the password in the environment, and makes a user whose password everyone knows.
    if find_spec("flask_wtf") is None or Version(version("mlflow")) < Version("3.16"):
        raise ConfigError('--auth needs the users of MLflow, which are an extra: `pip install "plt-nn[auth]"`.')
    admin, password, random_password = given.get(_USER) or "admin", given.get(_PASSWORD), None
    folder = store.root / "auth"
    with store.lock():
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)
        database = _private(folder / "users.db")  # SQLite gives its journal the same mode
        secret = _private(folder / "flask_secret_key", secrets.token_hex(32)).read_text().strip()
        if not _has_user(database, admin):
            random_password = None if password else secrets.token_urlsafe(15)
            password = _strong(password or random_password or "")
        variables = {_USER: admin, _SECRET: given.get(_SECRET) or secret}
        variables["MLFLOW_AUTH_CONFIG_PATH"] = str(_configured(folder / "basic_auth.ini", database, admin))
    return Users(database, admin, random_password, variables | ({_PASSWORD: password} if password else {}))


def _strong(password: str) -> str:
    if password == "password1234" or len(password) < 12:  # noqa: S105
        raise ConfigError(
            f"{_PASSWORD} must have at least 12 characters, and must not be MLflow's former default, which everyone "
            "knows; choose another, or unset it for a random one."
        )
    return password


def _has_user(database: Path, name: str) -> bool:
    with closing(sqlite3.connect(database)) as users:
        try:
            return users.execute("SELECT 1 FROM users WHERE username = ?", (name,)).fetchone() is not None
        except sqlite3.OperationalError:  # the server has not made the table yet
            return False


def _private(path: Path, text: str = "") -> Path:
    """A file that only the owner can read; one that has content keeps it."""
    path.touch(mode=0o600)
    path.chmod(0o600)
    if path.stat().st_size == 0:
        path.write_text(text)
    return path


def _configured(path: Path, database: Path, admin: str) -> Path:
    """MLflow's configuration file; changes to it stay, except for the place of the users."""
    config = ConfigParser()
    config.read_dict({"mlflow": {"default_permission": "READ"}})
    config.read(_private(path), encoding="utf-8")
    config["mlflow"]["database_uri"] = f"sqlite:///{database}".replace("%", "%%")  # the folder may have moved
    config["mlflow"]["admin_username"] = admin.replace("%", "%%")
    config.remove_option("mlflow", "admin_password")
    with path.open("w", encoding="utf-8") as file:
        config.write(file)
    return path
