"""Servers for the tests: MLflow's own as a process, and a front for it that misbehaves as it is told."""

import base64
import contextlib
import http.client
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mlflow.tracking import MlflowClient

from plt_nn.tracking.spool.folder import SpoolFolder, spool_folders
from tests import warm
from tests.ports import free_port


class MLflowServer:
    """A lean `mlflow server` on a folder, which can be killed and started again at the same address."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "MLflowServer":
        words = ["server", "--workers", "1", "--host", "127.0.0.1", "--port", str(self.port)]
        words += ["--backend-store-uri", f"sqlite:///{self.folder / 'mlflow.db'}"]
        words += ["--artifacts-destination", str(self.folder / "artifacts")]
        settings = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", *words],
                env=os.environ | settings | {"OMP_NUM_THREADS": "1"},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until(self._answers, warm.PATIENCE, f"the server has not started: {self.folder / 'server.log'}")
        return self

    def kill(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(warm.PATIENCE)
            self._process = None

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(self.uri)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "server.log").read_text()[-2000:]
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.uri}/health", timeout=5) as answer:
            return bool(answer.status == 200)
        return False


class Front:
    """A server that hands everything on to another one, unless it is told to behave otherwise.

    `behaviour` can be changed at any time: `forward`; a status, answered with a text; `hang`: accepts and never
    answers; `garbage` and `empty`: status 200 with bytes that mean nothing, and with an empty JSON object; `page`:
    status 404 with HTML. `refuse` stands for a server that is not there: connections end at once. With `login`, whoever
    does not give this user and password is answered 401.
    """

    def __init__(self, target: str, behaviour: str = "forward", login: tuple[str, str] | None = None) -> None:
        self.target, self.behaviour = urlsplit(target), behaviour
        self.login = None if login is None else "Basic " + base64.b64encode(":".join(login).encode()).decode()
        self.asked = 0
        self.before_answer: Callable[[], object] = lambda: None  # called when the target has answered
        self.freed = threading.Event()  # lets the requests go that hang
        handler = type("Handler", (_Handler,), {"front": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self.uri = f"http://{self.host}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.freed.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever has asked has gone."""


class _Handler(BaseHTTPRequestHandler):
    front: Front
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        front = self.front
        front.asked += 1
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if front.behaviour == "hang":
            front.freed.wait(2 * warm.PATIENCE)
            self.close_connection = True
        elif front.behaviour == "refuse":
            self.close_connection = True
        elif front.login is not None and self.headers.get("Authorization") != front.login:
            self._send(401, b"You are not authenticated.", "text/plain")
        elif front.behaviour == "garbage":
            self._send(200, b"\x00\xff{]", "application/json")
        elif front.behaviour == "empty":
            self._send(200, b"{}", "application/json")
        elif front.behaviour == "page":
            self._send(404, b"<html>no such page</html>", "text/html")
        elif front.behaviour.isdecimal():
            self._send(int(front.behaviour), b"not now", "text/plain")
        else:
            self._forward(body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815

    def _forward(self, body: bytes) -> None:
        target = http.client.HTTPConnection(self.front.target.netloc, timeout=warm.PATIENCE)
        with contextlib.closing(target):
            kept = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
            target.request(self.command, self.path, body, kept)
            answer = target.getresponse()
            content = answer.read()
            self.front.before_answer()
            self._send(answer.status, content, answer.headers.get("Content-Type", "application/json"))

    def _send(self, status: int, content: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Says nothing."""


def until(holds: Any, seconds: float, what: str) -> None:
    """Waits until something holds.

    Raises:
        TimeoutError: If it does not within so many seconds.
    """
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.05)


def the_spool(store: Path) -> SpoolFolder:
    """The only spool of a store."""
    (folder,) = spool_folders(store)
    return folder


def uploaders(store: Path) -> list[int]:
    """The processes that deliver spools of a store."""
    found: list[int] = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if "plt_nn.tracking.upload" in words and any(word.startswith(f"{store}/spool/") for word in words):
                found.append(int(folder.name))
    return found


def end_uploaders(store: Path) -> None:
    """Kills the processes that deliver spools of a store; waits until they are gone."""
    for process in uploaders(store):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    until(lambda: not uploaders(store), warm.PATIENCE, "the uploaders are still there")
