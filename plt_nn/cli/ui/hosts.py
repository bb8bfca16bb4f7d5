"""Which port the UI listens on, and under which names it answers: a page of another site must not read the runs."""

import errno
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from plt_nn.errors import ConfigError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_EVERYWHERE = ("0.0.0.0", "::", "")  # noqa: S104
_TRIED = 20  # ports


@dataclass(frozen=True)
class Allowed:
    """What the server takes requests for.

    Args:
        names: The names and addresses of this machine that others may use; none on loopback.
        hosts: Patterns for the header `Host`, as MLflow matches them.
        origins: The pages that may change something, as the header `Origin` names them.
    """

    names: tuple[str, ...]
    hosts: tuple[str, ...]
    origins: tuple[str, ...]


def allowed(host: str, port: int, environment: Mapping[str, str]) -> Allowed:
    """The names under which a server on this address answers.

    MLflow's own default takes every name that begins like a private address, so `10.example.com` as well: a site can
    point such a name of its own at 127.0.0.1 and read the runs through the browser (DNS rebinding). Here loopback
    answers to the three names of loopback on any port, for SSH tunnels, and another address to its own names too.

    Args:
        host: The address that is listened on.
        port: The port that is listened on.
        environment: May add to both with `MLFLOW_SERVER_ALLOWED_HOSTS` and `MLFLOW_SERVER_CORS_ALLOWED_ORIGINS`.
    """
    names = () if host in LOOPBACK else tuple(_names(host))
    local = [form for name in map(bracketed, LOOPBACK) for form in (name, f"{name.replace('[', '[[]')}:*")]
    others = [form for name in map(bracketed, names) for form in (name, f"{name}:{port}")]
    hosts = (*local, *others, *_listed(environment, "MLFLOW_SERVER_ALLOWED_HOSTS"))
    origins = (
        *(origin(name, port) for name in names),
        *_listed(environment, "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"),
    )
    return Allowed(names, hosts, origins)


def origin(host: str, port: int) -> str:
    """The address of the first page, as a browser writes it."""
    return f"http://{bracketed(host)}" + (f":{port}" if port != 80 else "")


def bracketed(host: str) -> str:
    """An address of IPv6 in brackets; everything else as it is."""
    return f"[{host}]" if ":" in host else host


def shown_host(host: str) -> str:
    """A host that can be opened: an address of this machine where all of them are listened on."""
    return next(iter(_names(host))) if host in _EVERYWHERE else host


def asked_host(host: str) -> str:
    """The address at which this machine itself reaches the server."""
    return {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104


def free_port(host: str, wanted: int) -> int:
    """The first port from `wanted` on that nobody listens on.

    Raises:
        ConfigError: If there is none, or the address is not this machine's.
    """
    try:
        family, *_, (address, *_) = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        raise ConfigError(f"--host {host} is no address: {error.strerror}.") from error
    for port in range(wanted, min(wanted + _TRIED, 65536)):
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError as error:
                if error.errno == errno.EADDRNOTAVAIL:
                    raise ConfigError(f"--host {host} is not an address of this machine.") from error
                if error.errno == errno.EACCES:
                    raise ConfigError(f"--port {port} is kept for the administrator; take one from 1024 on.") from error
                continue
            return port
    raise ConfigError(f"the ports {wanted} to {wanted + _TRIED - 1} of {host} are taken; --port names another.")


def _listed(environment: Mapping[str, str], name: str) -> Iterable[str]:
    return filter(None, (part.strip() for part in environment.get(name, "").split(",")))


def _names(host: str) -> dict[str, None]:
    """The host itself, or all that is known of this machine where it listens everywhere; in order, each once."""
    if host not in _EVERYWHERE:
        return {host: None}
    family = socket.AF_INET6 if host == "::" else socket.AF_INET
    others = [entry for entry in (*_outgoing(family), *_addresses(family)) if entry not in LOOPBACK]
    name = socket.gethostname()
    found = [*(others or [asked_host(host)]), name, socket.getfqdn(), *([] if "." in name else [f"{name}.local"])]
    return dict.fromkeys(entry for entry in found if entry != "localhost")


def _outgoing(family: socket.AddressFamily) -> Iterable[str]:
    """The address that packets to other machines would carry; nothing is sent."""
    far = "2001:db8::1" if family == socket.AF_INET6 else "192.0.2.1"  # for documentation only
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((far, 9))
            return [probe.getsockname()[0]]
    except OSError:  # no route, or no such family
        return []


def _addresses(family: socket.AddressFamily) -> Iterable[str]:
    import psutil

    found = (address for interface in psutil.net_if_addrs().values() for address in interface)
    return [address.address for address in found if address.family == family and "%" not in address.address]
