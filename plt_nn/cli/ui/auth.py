"""The users of the UI: MLflow's basic-auth app with a configuration, a database and keys of the store's own."""

import os
import re
import secrets
import sqlite3
from collections.abc import Mapping
from configparser import ConfigParser
from contextlib import closing
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from plt_nn.errors import ConfigError
from plt_nn.tracking import Store

_USER, _PASSWORD = "MLFLOW_AUTH_ADMIN_USERNAME", "MLFLOW_AUTH_ADMIN_PASSWORD"
_CONFIG, _KEY = "MLFLOW_AUTH_CONFIG_PATH", "MLFLOW_FLASK_SERVER_SECRET_KEY"
_WELL_KNOWN = "password1234"  # once MLflow's default, so the first that a stranger tries
_LEAST = 12  # characters, MLflow's limit
_FIRST_WITH_PASSWORD = (3, 16)  # the first MLflow that reads the password from the environment


@dataclass(frozen=True)
class Auth:
    """Who may log in, and how the server learns of it.

    Args:
        folder: Where the users are kept.
        user: The name of the first user, who may do everything.
        password: That user's password if it was made just now, else None.
        from_environment: Whether the password was taken from MLFLOW_AUTH_ADMIN_PASSWORD just now.
        environment: What the server process is told; holds secrets, so it is kept off command lines and out of `repr`.
    """

    folder: Path
    user: str
    password: str | None = field(repr=False)
    from_environment: bool
    environment: Mapping[str, str] = field(repr=False)

    @property
    def users(self) -> Path:
        """The database of the users."""
        return users_of(self.folder)


def users_of(folder: Path) -> Path:
    """The database of the users in a folder."""
    return folder / "users.db"


def auth_of(store: Store, given: Mapping[str, str] | None = None) -> Auth:
    """The users of a store, kept in its folder `auth`, which only the owner can read; made at first use.

    Args:
        store: Whose users they are.
        given: May name the first user (MLFLOW_AUTH_ADMIN_USERNAME, default: admin) and the password
            (MLFLOW_AUTH_ADMIN_PASSWORD, default: a random one). Default: this process's environment.

    Raises:
        ConfigError: If MLflow's extra is not installed, or the password is too weak.
    """
    given = os.environ if given is None else given
    _check_installed()
    folder = store.root / "auth"
    user = given.get(_USER) or "admin"
    with store.lock():
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)
        known = _has_user(users_of(folder), user)
        password = None if known else given.get(_PASSWORD) or secrets.token_urlsafe(15)
        if password is not None:
            _check(password)
        _create(users_of(folder), "")  # empty is a database too; SQLite keeps the mode, and for its journal as well
        _create(folder / "flask_secret_key", secrets.token_hex(32))
        _write_config(folder, user)
    told = {
        _CONFIG: str(folder / "basic_auth.ini"),
        _KEY: given.get(_KEY) or (folder / "flask_secret_key").read_text().strip(),
        _USER: user,
    }
    made = None if known or given.get(_PASSWORD) else password
    return Auth(
        folder, user, made, not known and made is None, told | ({} if password is None else {_PASSWORD: password})
    )


def _check_installed() -> None:
    try:
        mlflow = tuple(int(part) for part in re.findall(r"\d+", version("mlflow"))[:2])
    except PackageNotFoundError:  # mlflow-skinny alone, for instance
        mlflow = (0, 0)
    if find_spec("flask_wtf") is None or mlflow < _FIRST_WITH_PASSWORD:
        raise ConfigError('--auth needs the users of MLflow, which are an extra: `pip install "plt-nn[auth]"`.')


def _check(password: str) -> None:
    if password == _WELL_KNOWN:
        raise ConfigError(f"{_PASSWORD} is MLflow's former default, which everyone knows; take another or unset it.")
    if len(password) < _LEAST:
        raise ConfigError(f"{_PASSWORD} has {len(password)} characters; MLflow expects {_LEAST} or more.")


def _has_user(database: Path, user: str) -> bool:
    if not database.is_file():
        return False
    with closing(sqlite3.connect(database)) as users:
        if users.execute("SELECT 1 FROM sqlite_master WHERE name = 'users'").fetchone() is None:
            return False
        return users.execute("SELECT 1 FROM users WHERE username = ?", (user,)).fetchone() is not None


def _create(path: Path, text: str) -> None:
    """Writes a file that only the owner can read, unless it is there."""
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        path.chmod(0o600)
        return
    with os.fdopen(number, "w") as file:
        file.write(text)


def _write_config(folder: Path, user: str) -> None:
    """The configuration of MLflow's app. What somebody has changed in it stays, but not where the users are kept."""
    path = folder / "basic_auth.ini"
    _create(path, "[mlflow]\ndefault_permission = READ\n")
    config = ConfigParser()
    config.read(path, encoding="utf-8")
    if not config.has_section("mlflow"):
        config.add_section("mlflow")
    config["mlflow"].setdefault("default_permission", "READ")
    config["mlflow"]["database_uri"] = f"sqlite:///{users_of(folder)}".replace("%", "%%")  # the folder may have moved
    config["mlflow"]["admin_username"] = user.replace("%", "%%")
    config.remove_option("mlflow", "admin_password")  # a secret has no place here
    with path.open("w", encoding="utf-8") as file:
        config.write(file)
