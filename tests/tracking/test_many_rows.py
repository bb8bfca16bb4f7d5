"""Many rows: all arrive once, and the uploader's memory does not grow with them."""

import time
from collections import Counter
from pathlib import Path

import pytest

from tests.tracking.read_back import delivered, end, ended, metrics, new_spool, run_of, start_fresh
from tests.tracking.servers import MLflowServer

pytestmark = [pytest.mark.slow, pytest.mark.multiprocess]

FEW, MANY = 500, 50_000
MORE = 60 * 1024  # kB

UPLOAD = """
import pathlib, re, runpy
runpy.run_module("plt_nn.tracking.upload", run_name="__main__")
print("peak", re.search(r"VmHWM:\\s+(\\d+) kB", pathlib.Path("/proc/self/status").read_text())[1])
"""


def test_memory_is_flat(server: MLflowServer, tmp_path: Path) -> None:
    peaks = {rows: peak_of_uploading(rows, server, tmp_path / str(rows)) for rows in (FEW, MANY)}
    assert peaks[MANY] < peaks[FEW] + MORE


def peak_of_uploading(rows: int, server: MLflowServer, store: Path) -> int:
    """Delivers rows of one metric, and gives the uploader's peak memory in kB."""
    writer = new_spool(store, server.uri)
    for step in range(rows):
        writer.append(metrics(step, loss=step / 7))
    writer.append(end())
    writer.close()
    began = time.monotonic()
    status, output = ended(start_fresh("-c", UPLOAD, writer.folder.root))
    assert status == 0, output
    print(f"{rows} rows took {time.monotonic() - began:.1f} s; {output}")
    steps = Counter(point.step for point in delivered(server.client, writer.folder.uid).elements())
    assert steps == Counter(range(rows))
    assert run_of(server.client, writer.folder.uid).info.status == "FINISHED"
    return int(output.split()[-1])
