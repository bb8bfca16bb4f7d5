"""Passwords leave addresses; what the user has set stays."""

import pytest

from plt_nn.tracking.mlflow_client import without_password
from plt_nn.tracking.upload.start import uploader_environment


@pytest.mark.parametrize(
    ("uri", "plain", "login"),
    [
        ("http://host:5000", "http://host:5000", {}),
        (
            "https://me:h%40nter2@host/path",
            "https://host/path",
            {"MLFLOW_TRACKING_USERNAME": "me", "MLFLOW_TRACKING_PASSWORD": "h@nter2"},
        ),
        ("https://me@host", "https://host", {"MLFLOW_TRACKING_USERNAME": "me"}),
        ("sqlite:////a/b@c.db", "sqlite:////a/b@c.db", {}),
    ],
)
def test_an_address_and_its_login(uri: str, plain: str, login: dict[str, str]) -> None:
    assert without_password(uri) == (plain, login)


def test_settings_of_the_user_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "7")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    found = uploader_environment({"MLFLOW_TRACKING_USERNAME": "me"})
    assert found["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "7"
    assert found["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "0"
    assert found["MLFLOW_TRACKING_USERNAME"] == "me"
    assert found["PYTHONPATH"].startswith("/somewhere:")
    assert found["CUDA_VISIBLE_DEVICES"] == ""
