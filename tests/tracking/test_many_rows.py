"""Many rows: all arrive once, and the uploader's memory does not grow with them."""

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from plt_nn.tracking import store_at
from tests.tracking.read_back import delivered, end, ended, metrics, new_spool, run_of, start_fresh

pytestmark = [pytest.mark.slow, pytest.mark.multiprocess]

FEW, MANY = 500, 30_000
MORE = 20 * 1024  # kB; the events of the difference take more than twice that as objects

UPLOAD = """
import pathlib, re, runpy
runpy.run_module("plt_nn.tracking.upload", run_name="__main__")
print("peak", re.search(r"VmHWM:\\s+(\\d+) kB", pathlib.Path("/proc/self/status").read_text())[1])
"""


def test_memory_is_flat(new_store: Callable[[Path], str], tmp_path: Path) -> None:
    few, many = (peak_of_uploading(rows, new_store(tmp_path / str(rows))) for rows in (FEW, MANY))
    assert many < few + MORE


def peak_of_uploading(rows: int, store: str) -> int:
    """Delivers rows of one metric, and gives the uploader's peak memory in kB."""
    writer = new_spool(Path(store), None)
    for step in range(rows):
        writer.append(metrics(step, loss=step / 7))
    writer.append(end())
    writer.close()
    began = time.monotonic()
    status, output = ended(start_fresh("-c", UPLOAD, writer.folder.root))
    assert status == 0, output
    print(f"{rows} rows took {time.monotonic() - began:.1f} s; {output}")
    client = MlflowClient(store_at(store).uri)
    steps = Counter(point.step for point in delivered(client, writer.folder.uid).elements())
    assert steps == Counter(range(rows))
    assert run_of(client, writer.folder.uid).info.status == "FINISHED"
    return int(output.split()[-1])
