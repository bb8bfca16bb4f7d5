"""`plt-nn ui`: the MLflow UI on the runs of a folder."""

import argparse
import os
from pathlib import Path

from plt_nn.cli.ui.auth import Auth, auth_of
from plt_nn.cli.ui.hosts import LOOPBACK, allowed, free_port, origin, shown_host
from plt_nn.cli.ui.server import Server, serve
from plt_nn.errors import ConfigError
from plt_nn.tracking import Store, masked, store_at
from plt_nn.tracking.mlflow_client import is_server
from plt_nn.tracking.read.find_run import FoundRun, find_run, find_run_on_server, names_of_runs
from plt_nn.tracking.relocate.relocate import stale_roots

_TRACKING_URI = "MLFLOW_TRACKING_URI"
_EXPECTED = "Expected an MLflow run id, a `plt_nn.uid` or `last`"


def run(argv: list[str]) -> int:
    """Serves the MLflow UI until Ctrl-C.

    Args:
        argv: The verb and its words.

    Raises:
        ConfigError: If there is no store, no such run, no free port, or the address is open to others without a word.
        TrackingError: If the server does not come up or ends by itself.
    """
    arguments = _parser().parse_args(argv[1:])
    elsewhere = os.environ.get(_TRACKING_URI, "")
    if arguments.store is None and is_server(elsewhere):
        return _tell_where(elsewhere, arguments.run)
    store = store_at(arguments.store or "mlruns")
    if not store.database.is_file():
        raise ConfigError(f"there are no runs in {store.root}; `plt-nn fit` makes them, --store names another folder.")
    _check_reach(arguments.host, arguments.auth, arguments.no_auth)
    port = free_port(arguments.host, arguments.port)
    opened = address(store, arguments.host, port, arguments.run)
    if port != arguments.port:
        print(f"Port {arguments.port} is taken; using {port}.", flush=True)
    for folder in stale_roots(store):
        print(f"Artifacts are looked for in {folder}, where the runs lay before; `plt-nn relocate` mends that.")
    auth = auth_of(store) if arguments.auth else None
    server = Server(store, arguments.host, port, allowed(arguments.host, port, os.environ), auth)
    return serve(server, lambda: _announce(server, opened))


def address(store: Store, host: str, port: int, run: str | None) -> str:
    """The page to open: the run's own, or the list of experiments.

    Args:
        store: Where the run is.
        host: The address that is listened on.
        port: The port that is listened on.
        run: An MLflow run id, a `plt_nn.uid`, `last`, or None for no run in particular.

    Raises:
        ConfigError: If there is no such run.
    """
    base = origin(shown_host(host), port)
    return base if run is None else _page(base, _known(find_run(store, run), run, store))


def _page(base: str, found: FoundRun) -> str:
    return f"{base}/#/experiments/{found.experiment}/runs/{found.run}"


def _known(found: FoundRun | None, run: str, store: Store) -> FoundRun:
    if found is not None:
        return found
    names = names_of_runs(store)
    if not names:
        raise ConfigError(f"there is no run {run!r} in {store.root}, nor any other; `plt-nn fit` makes them.")
    listed = ", ".join(names)
    raise ConfigError(f"there is no run {run!r} in {store.root}. {_EXPECTED}; the newest are {listed}.")


def _check_reach(host: str, auth: bool, no_auth: bool) -> None:
    if auth and no_auth:
        raise ConfigError("--auth and --no-auth exclude each other; keep one of them.")
    if host not in LOOPBACK and not auth and not no_auth:
        raise ConfigError(
            f"--host {host} would show and give the runs to everyone who can reach this machine; "
            "add --auth to ask for a password, add --no-auth if that is meant, "
            "or stay with 127.0.0.1 and use an SSH tunnel."
        )


def _tell_where(uri: str, run: str | None) -> int:
    base = str(masked(uri)).rstrip("/")
    if run is not None:
        found = find_run_on_server(uri, run)
        if found is None:
            raise ConfigError(
                f"there is no run {run!r} on {base}. Expected an MLflow run id, a `plt_nn.uid` or `last`."
            )
        base = _page(base, found)
    print(f"{_TRACKING_URI} is set, so the runs go to a server that has its own UI: {base}")
    print("`plt-nn ui --store mlruns` shows the runs of a folder instead.")
    return 0


def _announce(server: Server, opened: str) -> None:
    print(f"The runs of {server.store.root}: {opened}  (Ctrl-C ends it)", flush=True)
    if "/#/" not in opened:  # MLflow's page shows the traces of language models until the browser is told once
        print(
            "If the page shows traces, choose `Model training` at its top left; the browser remembers it.", flush=True
        )
    if server.host not in LOOPBACK:
        names = ", ".join(server.allowed.names)
        print(f"It answers to the names {names}; MLFLOW_SERVER_ALLOWED_HOSTS adds others.", flush=True)
    if server.auth is not None:
        _tell_login(server.auth, opened.partition("/#")[0])
        if server.host not in LOOPBACK:
            print("Passwords travel unencrypted over http: use a trusted network, an SSH tunnel or TLS.", flush=True)


def _tell_login(auth: Auth, base: str) -> None:
    if auth.password is not None:
        print(f"The first user, shown this once:  name {auth.user}  password {auth.password}")
    elif auth.from_environment:
        print(f"The first user is {auth.user} with the password of MLFLOW_AUTH_ADMIN_PASSWORD.")
    else:
        print(f"Log in as {auth.user} or another user of {auth.folder}.")
    print(f"Change it at {base}/#/account. If it is lost, delete {auth.users} and start again.", flush=True)


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; expected a number from 1 to 65535")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="plt-nn ui", description="Open the MLflow UI on the runs of a folder.")
    parser.add_argument("--store", type=Path, help="folder of the runs (default: mlruns)")
    parser.add_argument("--run", help="a run to open: its MLflow id, its plt_nn.uid, or `last`")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument(
        "--port", type=_port, default=5000, help="port to listen on, or the next free one (default: 5000)"
    )
    parser.add_argument("--auth", action="store_true", help="ask for a user name and a password (plt-nn[auth])")
    parser.add_argument("--no-auth", action="store_true", help="allow an address that others can reach without that")
    return parser
