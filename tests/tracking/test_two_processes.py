"""Two processes log one run, and both know it."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from plt_nn.tracking import store_at
from plt_nn.tracking.spool.folder import SpoolFolder
from plt_nn.tracking.upload.backlog import wait_for_delivery
from tests import warm
from tests.deliveries import until_all_delivered

JOB = Path(__file__).with_name("two_processes_job.py")


def environment() -> dict[str, str]:
    ours = ("PL_GLOBAL_SEED", "MLFLOW_TRACKING_URI")
    return {name: value for name, value in os.environ.items() if name not in ours} | {"OMP_NUM_THREADS": "1"}


@pytest.mark.slow
@pytest.mark.multiprocess
@pytest.mark.parametrize("start", ["ddp", "ddp_spawn", "torchrun"])
def test_there_is_one_run(start: str, tmp_path: Path) -> None:
    strategy = "ddp" if start == "torchrun" else start
    launcher = [sys.executable]
    if start == "torchrun":  # the processes are started by somebody else, and know nothing of each other at first
        launcher += ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    command = [*launcher, str(JOB), strategy, str(tmp_path), "1"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    ranks = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    assert ranks[0] == ranks[1]
    uid = ranks[0]["uid"]
    assert ranks[0]["checkpoints"] == str(tmp_path / "mlruns" / "checkpoints" / "two" / uid / "checkpoints")
    main = json.loads((tmp_path / "main.json").read_text())
    assert main["uid"] == uid, "also where the fit was started, with ddp_spawn"
    until_all_delivered(tmp_path / "mlruns")
    client = MlflowClient(store_at(tmp_path / "mlruns").uri)
    (run,) = client.search_runs([found.experiment_id for found in client.search_experiments()])
    assert (run.info.run_id, run.info.status) == (main["run_id"], "FINISHED")
    assert run.data.tags["by_hand"] == "yes"
    for name in ("by_hand", "train_loss", "val_loss"):
        rows = Counter(row.step for row in client.get_metric_history(run.info.run_id, name))
        assert rows
        assert set(rows.values()) == {1}, "one process logs"
    assert "system/cpu_utilization_percentage" in run.data.metrics
    assert len(client.search_logged_models([run.info.experiment_id])) == 1
    assert [folder.name for folder in (tmp_path / "mlruns" / "spool").iterdir()] == [uid]


@pytest.mark.slow
@pytest.mark.multiprocess
def test_two_machines_log_one_run_and_each_how_it_fares(tmp_path: Path) -> None:
    done = warm.run_ranks(2, [JOB, "ddp", tmp_path, "2"], env=environment(), nodes=2)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    uid = json.loads((tmp_path / "main.json").read_text())["uid"]
    other = SpoolFolder(tmp_path / "mlruns" / "spool" / f"{uid}.node1")
    assert wait_for_delivery(other, 60).is_empty, "it does not wait at its end: the first machine may have ended"
    until_all_delivered(tmp_path / "mlruns")
    client = MlflowClient(store_at(tmp_path / "mlruns").uri)
    (run,) = client.search_runs([found.experiment_id for found in client.search_experiments()])
    assert run.info.status == "FINISHED"
    for machine in (0, 1):
        assert f"system/{machine}/cpu_utilization_percentage" in run.data.metrics
    assert {"train_loss", "val_loss"} <= set(run.data.metrics)
