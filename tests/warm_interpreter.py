"""A Python interpreter that has its imports behind it and forks a child for every job. Started by tests/warm.py.

A child leaves the loop and runs its job as the last thing of its own interpreter: exit status, traceback, what is
registered with `atexit`, and threads that are still at work at the end are what they are after `python ...`. What an
interpreter reads once, when it starts, a job shares with all others: PYTHONHASHSEED and its kin.

Arguments: the descriptor of the socket that orders come from, then the names of the modules to import.
"""

import builtins
import contextlib
import gc
import json
import os
import random
import runpy
import select
import signal
import socket
import sys
import types
from importlib import import_module
from pathlib import Path
from typing import TypedDict


class Job(TypedDict):
    """An order. With it come three descriptors: where to tell of the child, its output, and its errors.

    Args:
        words: What stands behind `python` on a command line: `SCRIPT ...`, `-m MODULE ...` or `-c CODE ...`.
        folder: The working directory.
        environment: All of it.
        new_session: Whether the job leads a session of its own.
    """

    words: list[str]
    folder: str
    environment: dict[str, str]
    new_session: bool


def main() -> None:
    del sys.path[0]  # the folder of this file, which would shadow modules such as `data`
    signal.signal(signal.SIGINT, signal.default_int_handler)  # pytest may have been started to ignore Ctrl-C
    for name in sys.argv[2:]:
        import_module(name)
    threads = len(list(Path("/proc/self/task").iterdir()))
    assert threads == 1, f"{threads} threads, of which a forked child has one"
    gc.collect()
    gc.freeze()  # else the first collection of every child copies all of this memory
    job = next_job(socket.socket(fileno=int(sys.argv[1])))
    if job is not None:
        run(job["words"])


def next_job(orders: socket.socket) -> Job | None:
    """Forks a child for each order. Returns in every child, with its job, and here once nobody orders any more."""
    running: dict[int, tuple[int, socket.socket]] = {}  # by a descriptor that can be read when the child has ended
    events = select.poll()
    events.register(orders, select.POLLIN)
    while True:
        for ready, _ in events.poll():
            if ready in running:
                events.unregister(ready)
                os.close(ready)
                child, answers = running.pop(ready)
                _tell(answers, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
                answers.close()
                continue
            message, descriptors, _, _ = socket.recv_fds(orders, 1 << 20, 3)
            if not message:
                return None
            told, *outputs = descriptors
            answers, job = socket.socket(fileno=told), json.loads(message)
            child = os.fork()
            if child == 0:
                for each in (orders, answers, *(other for _, other in running.values())):
                    each.close()
                for descriptor in running:
                    os.close(descriptor)
                become(job, outputs)
                return job  # type: ignore[no-any-return]
            for output in outputs:
                os.close(output)
            _tell(answers, child)
            descriptor = os.pidfd_open(child)
            running[descriptor] = child, answers
            events.register(descriptor, select.POLLIN)


def become(job: Job, outputs: list[int]) -> None:
    """Gives this process what a process that was just started has of its own."""
    if job["new_session"]:
        os.setsid()
    for number, output in enumerate(outputs, start=1):
        os.dup2(output, number)
        os.close(output)
    os.chdir(job["folder"])
    os.environ.clear()
    os.environ.update(job["environment"])
    _import_again()


def _import_again() -> None:
    """Does anew what modules did when they were imported, with another environment and before the processes parted."""
    random.seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    if "torch" in sys.modules and os.environ.get("OMP_NUM_THREADS") != "1":  # OpenMP was loaded with 1: no threads yet
        threads = os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0))
        sys.modules["torch"].set_num_threads(int(threads))
    if "lightning.pytorch" in sys.modules:
        is_first = all(os.environ.get(name, "0") == "0" for name in ("NODE_RANK", "LOCAL_RANK", "RANK"))
        sys.modules["lightning.pytorch"].utilities.rank_zero_only.rank = int(not is_first)


def run(words: list[str]) -> None:
    """Runs the script, the module (`-m`) or the code (`-c`) as `__main__`."""
    kind, given = words[0], [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    if kind == "-m":
        sys.path[:0] = [str(Path.cwd()), *given]
        sys.argv[:] = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        return
    script = types.ModuleType("__main__")  # whose __spec__ is None, as that of every script
    vars(script)["__builtins__"] = builtins
    sys.modules["__main__"] = script
    if kind == "-c":
        sys.path[:0] = ["", *given]
        sys.argv[:] = ["-c", *words[2:]]
        code = compile(words[1], "<string>", "exec")
    else:
        script.__file__ = str(Path(kind).absolute())
        sys.path[:0] = [str(Path(kind).resolve().parent), *given]
        sys.argv[:] = words
        code = compile(Path(kind).read_bytes(), script.__file__, "exec")
    exec(code, vars(script))


def _tell(answers: socket.socket, number: int) -> None:
    """The child's number, and at its end how it ended. Whoever asked for it may be gone."""
    with contextlib.suppress(OSError):
        answers.send(str(number).encode())


if __name__ == "__main__":
    main()
