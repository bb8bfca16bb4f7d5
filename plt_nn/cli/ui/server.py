"""MLflow's own server as a child process: started with few processes, and ended with all that it has started."""

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from plt_nn.cli.ui.address import EVERYWHERE, allowed_hosts, own_names, url
from plt_nn.cli.ui.users import Users
from plt_nn.errors import TrackingError
from plt_nn.tracking import Store

_GRACE = 10.0  # seconds that the server has to end by itself
# Options of `mlflow server` that a shell may have set for another server; they do not go with ours.
_OF_OTHERS = ("MLFLOW_GUNICORN_OPTS", "MLFLOW_WAITRESS_OPTS", "MLFLOW_STATIC_PREFIX", "MLFLOW_ARTIFACTS_ONLY")


def serve(store: Store, host: str, port: int, users: Users | None, ready: Callable[[], object]) -> int:
    """Runs MLflow's server until Ctrl-C, SIGTERM or SIGHUP.

    Args:
        store: The runs.
        host: The address to listen on.
        port: The port to listen on.
        users: Who may log in. None: no login is needed.
        ready: Called once, when the server answers.

    Returns:
        130 after Ctrl-C, 143 after SIGTERM, as shells count signals.

    Raises:
        TrackingError: If the server ends by itself.
    """
    received: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers = {number: signal.signal(number, lambda number, frame: received.append(number)) for number in numbers}
    try:
        child = subprocess.Popen(  # noqa: S603
            _command(store, host, port, users), env=_environment(users), start_new_session=True
        )
        is_ready = False
        while child.poll() is None and not received:
            if not is_ready and _answers(EVERYWHERE.get(host, host), port):
                is_ready = True
                ready()
            time.sleep(0.1)
        status = child.returncode
        _end(child, received)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if received:
        return 128 + received[0]
    raise TrackingError(f"the MLflow server ended with status {status}; its messages are above.")


def _command(store: Store, host: str, port: int, users: Users | None) -> list[str]:
    """One worker, no proxy for artifacts, and answers to its own names and those of MLflow's variables only."""
    names = own_names(host)
    hosts = [*allowed_hosts(names, port), os.environ.get("MLFLOW_SERVER_ALLOWED_HOSTS")]
    origins = [*(url(name, port) for name in names), os.environ.get("MLFLOW_SERVER_CORS_ALLOWED_ORIGINS")]
    return [
        *(sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", host, "--port", str(port)),
        *("--backend-store-uri", store.uri, "--registry-store-uri", store.uri),
        *("--default-artifact-root", str(store.root / "artifacts"), "--no-serve-artifacts"),
        *("--uvicorn-opts", "--log-level warning --timeout-graceful-shutdown 3"),
        *("--allowed-hosts", ",".join(filter(None, hosts))),
        *(("--cors-allowed-origins", ",".join(filter(None, origins))) if any(origins) else ()),
        *(("--app-name", "basic-auth") if users is not None else ()),
    ]


def _environment(users: Users | None) -> dict[str, str]:
    """This process's environment with no jobs, no telemetry, and the secrets, which stand on no command line."""
    given = {name: value for name, value in os.environ.items() if name not in _OF_OTHERS}
    fixed = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    return {"PYTHONWARNINGS": "ignore"} | given | fixed | dict(users.environment if users is not None else {})


def _answers(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=5)  # never through a proxy
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _end(child: subprocess.Popen[bytes], received: Sequence[int]) -> None:
    """Asks the server and all that it has started to end; a second signal, or ten seconds, kill them."""
    until = time.monotonic() + _GRACE
    number: int = signal.SIGTERM
    try:
        while True:  # until no process of the group remains
            os.killpg(child.pid, number)
            child.poll()  # an ended process stays in its group until its status is read
            is_late = time.monotonic() > until or len(received) > 1
            if is_late and number == signal.SIGKILL:
                return
            number = signal.SIGKILL if is_late else 0
            time.sleep(0.05)
    except ProcessLookupError:
        return
