"""A lock says whether a process is alive, whatever ended it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from plt_nn.tracking.spool.locks import ProcessLock, is_held

HOLDER = """
import os, sys, time
from pathlib import Path
from plt_nn.tracking.spool.locks import ProcessLock
assert ProcessLock(Path(sys.argv[1])).take()
if sys.argv[2] == "fork" and os.fork() == 0:
    time.sleep(3600)
print("taken", flush=True)
time.sleep(3600)
"""


def holder(path: Path, kind: str = "alone") -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path), kind], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "taken\n"
    return process


@pytest.mark.parametrize("kind", ["alone", "fork"])
def test_it_lasts_as_long_as_the_process_that_took_it(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_held(path)
    process = holder(path, kind)
    assert is_held(path)
    assert not ProcessLock(path).take()
    process.send_signal(signal.SIGKILL)  # the forked child lives on
    process.wait()
    assert not is_held(path)
    lock = ProcessLock(path)
    assert lock.take()
    lock.release()
    os.killpg(process.pid, signal.SIGKILL) if kind == "fork" else None


def test_within_one_process(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = ProcessLock(path)
    assert lock.take()
    assert is_held(path), "looking must not let go of it"
    assert is_held(path)
    assert not ProcessLock(path).take()
    lock.release()
    assert not is_held(path)


def test_a_forked_child_does_not_free_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = ProcessLock(path)
    assert lock.take()
    child = os.fork()
    if child == 0:
        held = is_held(path)
        lock.release()
        os._exit(0 if held else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    time.sleep(0.01)
    assert is_held(path)
    probe = "import sys; from pathlib import Path; from plt_nn.tracking.spool.locks import is_held"
    code = f"{probe}; sys.exit(0 if is_held(Path({str(path)!r})) else 1)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    lock.release()
