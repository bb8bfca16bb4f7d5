"""The MLflow server as a child: started lean, watched until it answers, and ended with all its processes."""

import http.client
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from plt_nn.cli.ui.auth import Auth
from plt_nn.cli.ui.hosts import Allowed, asked_host
from plt_nn.errors import TrackingError
from plt_nn.tracking import Store

_GRACE = 10.0  # seconds that a server has to end by itself
# Options of `mlflow server` that a shell may have set for another server; here they would break the call.
_NOT_OURS = ("MLFLOW_GUNICORN_OPTS", "MLFLOW_WAITRESS_OPTS", "MLFLOW_STATIC_PREFIX", "MLFLOW_ARTIFACTS_ONLY")


@dataclass(frozen=True)
class Server:
    """What is served, where and to whom.

    Args:
        store: The runs.
        host: The address to listen on.
        port: The port to listen on.
        allowed: The names under which it answers.
        auth: The users who may log in. None: nobody is asked.
    """

    store: Store
    host: str
    port: int
    allowed: Allowed
    auth: Auth | None = None


def serve(server: Server, ready: Callable[[], object]) -> int:
    """Runs the server until it is told to stop.

    Args:
        server: What to serve.
        ready: Called once, when the server answers.

    Returns:
        130 after Ctrl-C, 143 after SIGTERM, as shells count signals.

    Raises:
        TrackingError: If the server ends by itself.
    """
    with _stopping() as stop:
        child = subprocess.Popen(  # noqa: S603
            server_command(server), env=server_environment(server, os.environ), start_new_session=True
        )
        stop.watch(child)
        if _answers(child, server) and not stop.received:
            ready()
        status = child.wait()
        _end_group(child)
    if stop.received:
        return 128 + stop.received[0]
    raise TrackingError(f"the MLflow server ended with status {status}; what it said stands above.")


def server_command(server: Server) -> list[str]:
    """The leanest MLflow server on a store: one worker, no job runner, no proxy for artifacts, no secrets."""
    store = server.store
    command = [
        *(sys.executable, "-m", "mlflow", "server"),
        *("--workers", "1", "--host", server.host, "--port", str(server.port)),
        *("--backend-store-uri", store.uri, "--registry-store-uri", store.uri),
        *("--default-artifact-root", str(store.root / "artifacts"), "--no-serve-artifacts"),
        *("--uvicorn-opts", "--log-level warning --timeout-graceful-shutdown 3"),
        *("--allowed-hosts", ",".join(server.allowed.hosts)),
    ]
    if server.allowed.origins:
        command += ["--cors-allowed-origins", ",".join(server.allowed.origins)]
    return command if server.auth is None else [*command, "--app-name", "basic-auth"]


def server_environment(server: Server, given: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with what keeps the server lean and silent, and its secrets."""
    kept = {name: value for name, value in given.items() if name not in _NOT_OURS}
    lean = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    silent = {"PYTHONWARNINGS": kept.get("PYTHONWARNINGS", "ignore")}
    secret = {} if server.auth is None else dict(server.auth.environment)
    return kept | lean | silent | secret


def _answers(child: subprocess.Popen[bytes], server: Server) -> bool:
    """Waits until the server answers; False if it ended before."""
    while child.poll() is None:
        connection = http.client.HTTPConnection(asked_host(server.host), server.port, timeout=5)  # never by a proxy
        try:
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return True
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(0.1)
    return False


class _Stop:
    """Passes signals on to the server: the first asks it to end, a second or ten seconds end it."""

    def __init__(self) -> None:
        self.received: list[int] = []
        self._child: subprocess.Popen[bytes] | None = None
        self._late: threading.Timer | None = None

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        self.received.append(signum)
        self._pass_on()

    def watch(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child
        if self.received:  # while it was being started
            self._pass_on()

    def _pass_on(self) -> None:
        if self._child is None:
            return
        if len(self.received) > 1:
            _signal_group(self._child, signal.SIGKILL)
            return
        _signal_group(self._child, signal.SIGTERM)
        self._late = threading.Timer(_GRACE, _signal_group, (self._child, signal.SIGKILL))
        self._late.daemon = True
        self._late.start()

    def over(self) -> None:
        if self._late is not None:
            self._late.cancel()


@contextmanager
def _stopping() -> Iterator[_Stop]:
    """Catches what ends a program, such as Ctrl-C, and puts the former handlers back afterwards."""
    stop = _Stop()
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield stop
    finally:
        stop.over()
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_group(child: subprocess.Popen[bytes]) -> None:
    """Waits for the processes that the server itself has started, and ends those that stay."""
    until = time.monotonic() + _GRACE
    while _signal_group(child, signal.SIGTERM if child.returncode else 0):
        if time.monotonic() > until:
            _signal_group(child, signal.SIGKILL)
            return
        time.sleep(0.05)


def _signal_group(child: subprocess.Popen[bytes], number: int) -> bool:
    """Sends a signal to the server and all that it has started; False if nobody is left."""
    try:
        os.killpg(child.pid, number)
    except ProcessLookupError:
        return False
    return True
