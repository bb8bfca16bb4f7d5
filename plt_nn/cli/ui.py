"""`plt-nn ui`: the MLflow UI on the runs of a folder."""

import argparse
import errno
import os
import socket
import sys
from pathlib import Path

from plt_nn.errors import ConfigError
from plt_nn.tracking import Store, store_at

_TRIED = 20  # ports


def run(argv: list[str]) -> int:
    """Serves the MLflow UI until Ctrl-C; this process becomes the server.

    Raises:
        ConfigError: If there is no store, no free port, or the address is open to others without a word.
    """
    arguments = _parser().parse_args(argv[1:])
    store = store_at(arguments.store)
    if not (store.root / "mlflow.db").is_file():
        raise ConfigError(f"there are no runs in {store.root}; `plt-nn fit` makes them, --store names another folder.")
    if arguments.host not in ("127.0.0.1", "localhost", "::1") and not arguments.no_auth:
        raise ConfigError(
            f"--host {arguments.host} would show and give the runs to everyone who can reach this machine; "
            "add --no-auth if that is meant, or stay with 127.0.0.1 and use an SSH tunnel."
        )
    port = free_port(arguments.host, arguments.port)
    if port != arguments.port:
        print(f"Port {arguments.port} is taken; using {port}.")
    print(
        f"The runs of {store.root}: {address(store, arguments.host, port, arguments.run)}  (Ctrl-C ends it)", flush=True
    )
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    os.execve(sys.executable, [sys.executable, *server_command(store, arguments.host, port)], environment)  # noqa: S606


def server_command(store: Store, host: str, port: int) -> list[str]:
    """Python's arguments for the leanest MLflow server on a store: one worker, no job runner."""
    root = store.root / "artifacts"
    return [
        *("-m", "mlflow", "server", "--workers", "1", "--host", host, "--port", str(port)),
        *("--backend-store-uri", store.uri, "--default-artifact-root", str(root)),
    ]


def address(store: Store, host: str, port: int, run_id: str | None) -> str:
    """The page to open: the run's own, or the list of experiments."""
    page = f"http://{host}:{port}"
    if run_id is None:
        return page
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    try:
        experiment = MlflowClient(store.uri).get_run(run_id).info.experiment_id
    except MlflowException as error:
        raise ConfigError(f"there is no run {run_id!r} in {store.root}.") from error
    return f"{page}/#/experiments/{experiment}/runs/{run_id}"


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
                continue
            return port
    raise ConfigError(f"the ports {wanted} to {wanted + _TRIED - 1} of {host} are taken; --port names another.")


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; expected a number from 1 to 65535")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="plt-nn ui", description="Open the MLflow UI on the runs of a folder.")
    parser.add_argument("--store", type=Path, default=Path("mlruns"), help="folder of the runs (default: mlruns)")
    parser.add_argument("--run", help="id of a run to open")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument(
        "--port", type=_port, default=5000, help="port to listen on, or the next free one (default: 5000)"
    )
    parser.add_argument("--no-auth", action="store_true", help="allow an address that others can reach")
    return parser
