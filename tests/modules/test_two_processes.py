"""The metrics of two processes are those of one, and both processes know them."""

import json
import os
import runpy
from pathlib import Path

import pytest

from tests import warm

JOB = Path(__file__).with_name("metrics_job.py")


@pytest.mark.slow
@pytest.mark.multiprocess
def test_metrics_are_those_of_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PL_GLOBAL_SEED"}
    done = warm.run_ranks(2, [JOB, "2", tmp_path], env=environment | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")  # the job sets it; this takes it back afterwards
    alone = runpy.run_path(str(JOB))["report"](1)
    both = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    for name, metrics in alone.items():
        first, second = (reports[name] for reports in both)
        assert first.pop("rank") == 0
        assert second.pop("rank") == 1
        assert first == second, "each process has the numbers of both"
        del metrics["rank"]
        assert first == pytest.approx(metrics, rel=1e-5)
