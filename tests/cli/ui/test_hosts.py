"""The names under which the UI answers."""

from fnmatch import fnmatch

import pytest

from plt_nn.cli.ui.hosts import allowed, asked_host, origin, shown_host


def answers(host: str, name: str) -> bool:
    """As MLflow compares them."""
    return any(fnmatch(name, entry) if "*" in entry else name == entry for entry in allowed(host, 5000, {}).hosts)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_loopback_answers_to_its_names_alone(host: str) -> None:
    assert allowed(host, 5000, {}).names == allowed(host, 5000, {}).origins == ()
    for name in ("127.0.0.1:5000", "localhost", "localhost:8080", "[::1]:5000"):
        assert answers(host, name), name
    for name in ("10.evil.example", "evil.example:5000", "localhost.evil.example", "192.0.2.7:5000", ""):
        assert not answers(host, name), name


def test_an_address_answers_to_itself_at_its_port() -> None:
    assert answers("192.0.2.7", "192.0.2.7:5000")
    assert answers("192.0.2.7", "localhost:5000"), "through an SSH tunnel"
    assert not answers("192.0.2.7", "192.0.2.70:5000")
    assert not answers("192.0.2.7", "192.0.2.7:80")
    assert allowed("192.0.2.7", 5000, {}).origins == ("http://192.0.2.7:5000",)


def test_everywhere_is_every_address_of_this_machine() -> None:
    names = allowed("0.0.0.0", 5000, {}).names
    assert shown_host("0.0.0.0") == names[0]
    assert len(set(names)) == len(names)
    assert asked_host("0.0.0.0") == "127.0.0.1"
    assert asked_host("::") == "::1"
    assert asked_host("192.0.2.7") == shown_host("192.0.2.7") == "192.0.2.7"


def test_others_are_added_by_mlflows_variables() -> None:
    given = {
        "MLFLOW_SERVER_ALLOWED_HOSTS": "runs.example.org, runs",
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": "https://runs.example.org",
    }
    found = allowed("127.0.0.1", 5000, given)
    assert found.hosts[-2:] == ("runs.example.org", "runs")
    assert found.origins == ("https://runs.example.org",)


def test_how_a_browser_writes_it() -> None:
    assert origin("::1", 5000) == "http://[::1]:5000"
    assert origin("localhost", 80) == "http://localhost"
