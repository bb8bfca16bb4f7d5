"""Where the UI listens, and the names of this machine under which it answers."""

import errno
import socket
from collections.abc import Iterable

from plt_nn.errors import ConfigError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- all addresses -> how this machine reaches itself
_PORTS = 20  # how many are tried


def own_names(host: str) -> list[str]:
    """The names under which other machines reach an address of this one; none for loopback."""
    if host not in EVERYWHERE:
        return [] if host in LOOPBACK else [host]
    import psutil

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    interfaces = (entry for interface in psutil.net_if_addrs().values() for entry in interface)
    addresses = [entry.address for entry in interfaces if entry.family == family and "%" not in entry.address]
    name = socket.gethostname()
    names = dict.fromkeys([*addresses, name, socket.getfqdn(), f"{name.partition('.')[0]}.local"])
    return [each for each in names if each not in LOOPBACK]


def allowed_hosts(names: Iterable[str], port: int) -> list[str]:
    """What the header `Host` may be, for `mlflow server --allowed-hosts`: loopback at any port, as for SSH tunnels.

    MLflow's default also allows every name that begins like a private address, such as `10.example.com`: a site can
    point a name of its own at this machine and read the runs through the browser (DNS rebinding).
    """
    local = [form for name in map(bracketed, LOOPBACK) for form in (name, f"{name.replace('[', '[[]')}:*")]
    return local + [form for name in map(bracketed, names) for form in (name, f"{name}:{port}")]


def url(host: str, port: int) -> str:
    """The address of the first page, as a browser writes it."""
    return f"http://{bracketed(host)}" + (f":{port}" if port != 80 else "")


def bracketed(host: str) -> str:
    """An IPv6 address in brackets; every other host unchanged."""
    return f"[{host}]" if ":" in host else host


def free_port(host: str, first: int) -> int:
    """The first port from `first` on that nothing listens on.

    Raises:
        ConfigError: If there is none, or the address is not this machine's.
    """
    for port in range(first, min(first + _PORTS, 65536)):
        try:
            socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
            return port
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise ConfigError(f"--host {host} --port {port} cannot be used: {error.strerror}.") from error
    raise ConfigError(f"the ports {first} to {first + _PORTS - 1} of {host} are taken; --port names another.")
