"""Processes that start at once: forked by an interpreter that has imported what takes seconds.

Each is a process like any other, with its own number, environment, folder, session, signals and end; it only has
its imports behind it. Tests whose point is a fresh interpreter (what it imports, what `ps` shows of it) start one with
`subprocess`, whose names and manners these functions have.
"""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from tests.ports import free_port

INTERPRETER = Path(__file__).with_name("warm_interpreter.py")
PATIENCE = 600.0  # seconds; a busy machine is no fault of the code


class Interpreter:
    """An interpreter that has imported some modules; it starts when it is first needed and ends with this process."""

    def __init__(self, *modules: str) -> None:
        self.modules = modules

    @cached_property
    def _orders(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        plain = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        # A forked child has no threads but one: those of OpenBLAS and of Arrow's jemalloc must not be started.
        threads = {"OMP_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
        self._log = os.memfd_create("what the warm interpreter says")
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, str(INTERPRETER), str(theirs.fileno()), *self.modules],
                env=plain | threads,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._log,
                start_new_session=True,
                pass_fds=[theirs.fileno()],
            )
        return ours

    def fork(self, order: dict[str, object], outputs: Sequence[int]) -> tuple[int, socket.socket]:
        """Starts a job; gives its number, and a socket on which its exit status comes."""
        answers, told = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with told, contextlib.suppress(BrokenPipeError):  # which `read` explains
            socket.send_fds(self._orders, [json.dumps(order).encode()], [told.fileno(), *outputs])
        return int(self.read(answers)), answers

    def read(self, answers: socket.socket) -> bytes:
        answer = answers.recv(32)
        if not answer:
            said = os.pread(self._log, 10_000, 0).decode()
            raise RuntimeError(f"the warm interpreter is gone: {said}")
        return answer


TRAINING = Interpreter(
    *("torch", "lightning.pytorch.cli", "torchmetrics", "timm", "torchvision", "sklearn.datasets"),
    *("plt_nn.architectures", "plt_nn.backbones", "plt_nn.callbacks", "plt_nn.data", "plt_nn.modules"),
    *("plt_nn.tracking", "plt_nn.cli.train", "matplotlib.figure"),  # and not MLflow, which training never imports
)
MLFLOW = Interpreter(
    "mlflow.tracking", "mlflow.store.tracking.sqlalchemy_store", "plt_nn.tracking.upload.deliver_with_retries"
)


class Process:
    """What `subprocess.Popen` is for a command, for the words that stand behind `python` in it.

    Args:
        words: `[SCRIPT, ...]`, `["-m", MODULE, ...]` or `["-c", CODE, ...]`.
        cwd: The working directory. Default: that of this process.
        env: The environment. Default: that of this process.
        together: Whether what goes to stderr comes with the output.
        output: The descriptor of a file or a terminal that the process prints to, in place of pipes.
        start_new_session: Whether it leads a session of its own.
        interpreter: The one that is forked.
    """

    def __init__(
        self,
        words: Sequence[object],
        *,
        cwd: str | Path | None = None,
        env: Mapping[str, str] | None = None,
        together: bool = False,
        output: int | None = None,
        start_new_session: bool = False,
        interpreter: Interpreter = TRAINING,
    ) -> None:
        self.args = [str(word) for word in words]
        self.returncode: int | None = None
        self._interpreter = interpreter
        order: dict[str, object] = {"words": self.args, "folder": str(Path(cwd or ".").absolute())}
        order |= {"environment": dict(os.environ if env is None else env), "new_session": start_new_session}
        self._outputs = [_Output() for _ in range(1 if together else 2)] if output is None else []
        written = [output, output] if output is not None else [self._outputs[0].written, self._outputs[-1].written]
        self.pid, self._answers = interpreter.fork(order, written)
        for each in self._outputs:
            each.start()

    def poll(self) -> int | None:
        """The exit status, or the negative number of the signal that has ended it; None while it runs."""
        if self.returncode is None and select.select([self._answers], [], [], 0)[0]:
            self.returncode = int(self._interpreter.read(self._answers))
            self._answers.close()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None and not select.select([self._answers], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        status = self.poll()
        assert status is not None
        return status

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What was printed, once everybody who can print has ended: the processes that it started too."""
        end = None if timeout is None else time.monotonic() + timeout
        for output in self._outputs:
            output.join(None if end is None else max(0.0, end - time.monotonic()))
            if output.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        self.wait(None if end is None else max(0.0, end - time.monotonic()))
        texts = [output.text for output in self._outputs] + ["", ""]
        return texts[0], texts[1]

    def send_signal(self, signal_: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal_)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class _Output(threading.Thread):
    """Reads what is printed, so that nobody who prints has to wait."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._read, self.written = os.pipe()
        self.text = ""

    def start(self) -> None:
        os.close(self.written)
        super().start()

    def run(self) -> None:
        with os.fdopen(self._read, encoding="utf-8", errors="replace") as lines:
            self.text = lines.read()


def run(
    words: Sequence[object],
    *,
    cwd: str | Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = PATIENCE,
    interpreter: Interpreter = TRAINING,
) -> subprocess.CompletedProcess[str]:
    """What `subprocess.run` is, with all output captured."""
    process = Process(words, cwd=cwd, env=env, interpreter=interpreter)
    try:
        out, err = process.communicate(timeout)
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, process.wait(), out, err)


def run_ranks(
    count: int,
    words: Sequence[object],
    *,
    cwd: str | Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = PATIENCE,
    nodes: int = 1,
) -> subprocess.CompletedProcess[str]:
    """Runs the processes of a distributed fit side by side, started as by a scheduler: Lightning starts no others.

    Those that are left when one has failed are killed: they would wait for it. The status is that of the first failure.

    Args:
        count: The number of processes.
        words: As those of `Process`, as are `cwd` and `env`.
        timeout: Seconds.
        nodes: The number of machines that the processes take themselves to be on, in equal shares.
    """
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    plain = dict(os.environ if env is None else env) | place | {"WORLD_SIZE": str(count)}
    numbers = [divmod(rank, count // nodes) for rank in range(count)]
    each = [plain | {"NODE_RANK": str(node), "LOCAL_RANK": str(local)} for node, local in numbers]
    ranks = [Process(words, cwd=cwd, env=variables) for variables in each]
    end = time.monotonic() + timeout
    try:
        while None in (states := [rank.poll() for rank in ranks]) and not any(states) and time.monotonic() < end:
            time.sleep(0.02)
    finally:
        for rank in ranks:
            rank.kill()
    outputs = [rank.communicate(timeout) for rank in ranks]
    out, err = ("".join(texts) for texts in zip(*outputs, strict=True))
    if not any(states) and None in states:
        raise subprocess.TimeoutExpired(ranks[0].args, timeout, out, err)
    return subprocess.CompletedProcess(ranks[0].args, next(filter(None, states), 0), out, err)
