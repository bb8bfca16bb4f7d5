"""The names under which the UI answers."""

from fnmatch import fnmatch

import psutil
import pytest

from plt_nn.cli.ui.address import allowed_hosts, own_names, url


def answers(host: str, name: str) -> bool:
    """As MLflow compares them."""
    allowed = allowed_hosts(own_names(host), 5000)
    return any(fnmatch(name, entry) if "*" in entry else name == entry for entry in allowed)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_loopback_answers_to_its_names_alone(host: str) -> None:
    assert own_names(host) == []
    for name in ("127.0.0.1:5000", "localhost", "localhost:8080", "[::1]:5000"):
        assert answers(host, name), name
    for name in ("10.evil.example", "evil.example:5000", "localhost.evil.example", "192.0.2.7:5000", ""):
        assert not answers(host, name), name


def test_an_address_answers_to_itself_at_its_port() -> None:
    assert answers("192.0.2.7", "192.0.2.7:5000")
    assert answers("192.0.2.7", "localhost:5000"), "through an SSH tunnel"
    assert not answers("192.0.2.7", "192.0.2.70:5000")
    assert not answers("192.0.2.7", "192.0.2.7:80")


def test_everywhere_is_every_address_of_this_machine() -> None:
    names = own_names("0.0.0.0")
    assert names
    assert len(set(names)) == len(names)
    assert "127.0.0.1" not in names
    assert len(names) >= len(psutil.net_if_addrs()) - 1


def test_how_a_browser_writes_it() -> None:
    assert url("::1", 5000) == "http://[::1]:5000"
    assert url("localhost", 80) == "http://localhost"
