"""The users of a store: what is kept where, and that nothing of it can be read by others."""

import os
from configparser import ConfigParser
from pathlib import Path

import pytest

from plt_nn.cli.ui.users import Users, users_of
from plt_nn.errors import ConfigError
from plt_nn.tracking import store_at

GIVEN = "MLFLOW_AUTH_ADMIN_PASSWORD"


def ini(users: Users) -> ConfigParser:
    config = ConfigParser()
    config.read(users.database.parent / "basic_auth.ini")
    return config


def test_the_folder_is_for_its_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    users = users_of(store_at(tmp_path), {})
    os.umask(before)
    assert users.database.parent.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in users.database.parent.iterdir()} == {0o600}
    users.database.parent.chmod(0o755)
    (users.database.parent / "flask_secret_key").chmod(0o644)
    users_of(store_at(tmp_path), {})
    assert users.database.parent.stat().st_mode & 0o777 == 0o700
    assert (users.database.parent / "flask_secret_key").stat().st_mode & 0o777 == 0o600


def test_a_random_password_until_there_is_a_user(tmp_path: Path) -> None:
    one, other = users_of(store_at(tmp_path), {}), users_of(store_at(tmp_path), {})
    assert one.new_password is not None
    assert len(one.new_password) >= 16
    assert one.new_password != other.new_password, "the first was never used"
    assert one.environment[GIVEN] == one.new_password
    assert one.environment["MLFLOW_FLASK_SERVER_SECRET_KEY"] == other.environment["MLFLOW_FLASK_SERVER_SECRET_KEY"]
    assert one.new_password not in repr(one)
    assert one.environment["MLFLOW_FLASK_SERVER_SECRET_KEY"] not in repr(one)


def test_the_first_user_may_be_given(tmp_path: Path) -> None:
    users = users_of(store_at(tmp_path), {"MLFLOW_AUTH_ADMIN_USERNAME": "ann", GIVEN: "a good long one"})
    assert (users.admin, users.new_password) == ("ann", None)
    assert users.environment[GIVEN] == "a good long one"
    assert ini(users)["mlflow"]["admin_username"] == "ann"


def test_the_configuration_follows_the_folder_and_keeps_what_was_changed(tmp_path: Path) -> None:
    users = users_of(store_at(tmp_path / "old"), {})
    config = ini(users)
    config["mlflow"].update({"default_permission": "NO_PERMISSIONS", "admin_password": "left here by hand"})
    with (users.database.parent / "basic_auth.ini").open("w") as file:
        config.write(file)
    (tmp_path / "old").rename(tmp_path / "100% new")
    moved = users_of(store_at(tmp_path / "100% new"), {})
    assert ini(moved)["mlflow"]["database_uri"] == f"sqlite:///{tmp_path / '100% new' / 'auth' / 'users.db'}"
    assert ini(moved)["mlflow"]["default_permission"] == "NO_PERMISSIONS"
    assert "admin_password" not in ini(moved)["mlflow"]


def test_no_well_known_password(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="former default, which everyone knows"):
        users_of(store_at(tmp_path), {GIVEN: "password1234"})
