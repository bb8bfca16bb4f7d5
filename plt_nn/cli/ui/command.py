"""`plt-nn ui`: the MLflow UI on the runs of a folder."""

import argparse
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from plt_nn.cli.ui.address import LOOPBACK, free_port, own_names, url
from plt_nn.cli.ui.server import serve
from plt_nn.cli.ui.users import Users, users_of
from plt_nn.errors import ConfigError
from plt_nn.tracking import Store, masked, store_at
from plt_nn.tracking.mlflow_client import is_server
from plt_nn.tracking.read.find_run import FoundRun, find_run, find_run_on_server, names_of_runs
from plt_nn.tracking.relocate import stale_roots


def run(argv: list[str]) -> int:
    """Serves the MLflow UI until Ctrl-C.

    Raises:
        ConfigError: If there is no store, no such run, no free port, or others could reach the address unasked.
        TrackingError: If the server does not start, or ends by itself.
    """
    arguments = _parser().parse_args(argv[1:])
    host, elsewhere = arguments.host, os.environ.get("MLFLOW_TRACKING_URI", "")
    if arguments.store is None and is_server(elsewhere):
        base = str(masked(elsewhere)).rstrip("/")
        opened = page_address(base, arguments.run, partial(find_run_on_server, elsewhere), f"on {base}")
        print(f"MLFLOW_TRACKING_URI is set, so the runs go to a server that has its own UI: {opened}")
        print("`plt-nn ui --store mlruns` shows the runs of a folder instead.")
        return 0
    store = store_at(arguments.store or "mlruns")
    if not store.database.is_file():
        raise ConfigError(f"there are no runs in {store.root}; `plt-nn fit` makes them, --store names another folder.")
    if arguments.auth and arguments.no_auth:
        raise ConfigError("--auth and --no-auth exclude each other; remove one of them.")
    if host not in LOOPBACK and not arguments.auth and not arguments.no_auth:
        raise ConfigError(
            f"--host {host} would show and give the runs to everyone who can reach this machine: add --auth to ask for "
            "a password, add --no-auth if that is meant, or use 127.0.0.1 and an SSH tunnel."
        )
    port = free_port(host, arguments.port)
    base = url((own_names(host) or [host])[0], port)
    opened = page_address(base, arguments.run, partial(find_run, store), f"in {store.root}", names_of_runs(store))
    if port != arguments.port:
        print(f"Port {arguments.port} is taken; using {port}.", flush=True)
    for folder in stale_roots(store):
        print(f"Artifacts are looked for in {folder}, where the runs were before; `plt-nn relocate` corrects that.")
    users = users_of(store) if arguments.auth else None
    return serve(store, host, port, users, lambda: _announce(store, base, opened, own_names(host), users))


def page_address(
    base: str, run: str | None, find: Callable[[str], FoundRun | None], where: str, newest: Sequence[str] = ()
) -> str:
    """The page to open: that of a run, or the list of experiments.

    Args:
        base: The address of the server.
        run: An MLflow run id, a `plt_nn.uid`, `last`, or None for no run in particular.
        find: Finds a run by such a name.
        where: Where it looks, for an error.
        newest: The runs to name in an error.

    Raises:
        ConfigError: If there is no such run.
    """
    found = find(run) if run is not None else None
    if run is not None and found is None:
        known = f"; the newest are {', '.join(newest)}." if newest else "."
        raise ConfigError(
            f"there is no run {run!r} {where}. Expected an MLflow run id, a `plt_nn.uid` or `last`{known}"
        )
    return base if found is None else f"{base}/#/experiments/{found.experiment}/runs/{found.run}"


def _announce(store: Store, base: str, opened: str, names: Sequence[str], users: Users | None) -> None:
    lines = [f"The runs of {store.root}: {opened}  (Ctrl-C ends it)"]
    if opened == base:  # MLflow's page shows the traces of language models until the browser has chosen once
        lines.append("If the page shows traces, choose `Model training` at its top left; the browser remembers it.")
    if names:
        lines.append(f"It answers to the names {', '.join(names)}; MLFLOW_SERVER_ALLOWED_HOSTS adds others.")
    if users is not None and users.new_password is not None:
        lines.append(f"The first user, shown this once:  name {users.admin}  password {users.new_password}")
    elif users is not None:
        lines.append(f"Log in as {users.admin}, or as another user of {users.database}.")
    if users is not None:
        lines.append(f"Change it at {base}/#/account. If it is lost, delete {users.database} and start again.")
    if users is not None and names:
        lines.append("Passwords travel unencrypted over http: use a trusted network, an SSH tunnel or TLS.")
    print("\n".join(lines), flush=True)


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
