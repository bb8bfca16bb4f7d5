"""A fit on two processes leaves one report, and costs the time of both."""

from pathlib import Path

import pytest

from plt_nn.tracking.read.spool_runs import spool_runs
from tests import warm
from tests.ports import free_port
from tests.tracking.servers import end_uploaders

JOB = Path(__file__).with_name("two_processes_job.py")


@pytest.mark.multiprocess
def test_two_processes_leave_one_report_and_count_twice(tmp_path: Path) -> None:
    done = warm.run_ranks(2, [JOB, tmp_path, f"http://127.0.0.1:{free_port()}"])
    end_uploaders(tmp_path / "mlruns")
    assert done.returncode == 0, done.stderr
    (run,) = spool_runs(tmp_path / "mlruns")
    pages = list(run.folder.files.glob("*/report.html"))
    assert len(pages) == 1
    assert 'class="matrix"' in pages[0].read_text()
    assert run.record.tags["devices"] == "2 x CPU"
    histories = run.histories()[run.record.id]
    hours, (began, ended) = histories["cost/device_hours"].values[-1], (run.record.began, run.record.ended)
    assert ended is not None
    assert 0 < hours <= 2 * (ended - began + 1000) / 3_600_000
    assert histories["cost/trained_parameters"].values.tolist() == [64 * 16 + 16 + 170]
