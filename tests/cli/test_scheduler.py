"""A scheduler that takes a job back and starts it again with the same words: it stays one run."""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from mlflow.tracking import MlflowClient

from plt_nn.tracking import store_at
from tests import warm
from tests.cli.conftest import environment
from tests.deliveries import until_all_delivered

Tiny = Callable[..., Path]


def slurm_environment(folder: Path) -> dict[str, str]:
    """That of a job of one task, with an `scontrol` that says yes: SLURM itself cannot be had here."""
    (folder / "bin").mkdir(exist_ok=True)
    scontrol = folder / "bin" / "scontrol"
    scontrol.write_text(f"#!/bin/sh\ntouch {folder}/requeued\n")
    scontrol.chmod(0o755)
    variables = ("JOB_ID", "PROCID", "LOCALID", "NODEID")
    job = {f"SLURM_{name}": "0" for name in variables} | {"SLURM_NTASKS": "1", "SLURM_JOB_NAME": "training"}
    return environment() | job | {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}


@pytest.mark.slow
def test_a_job_that_is_requeued_goes_on_with_its_run(tiny: Tiny, here: Path, store: Path) -> None:
    def slowly(config: dict[str, object]) -> None:
        config["trainer"]["max_epochs"] = 400  # type: ignore[index]
        config["trainer"]["callbacks"] = []  # type: ignore[index]

    config = tiny(slowly)
    words = ["-m", "plt_nn", "fit", "--config", config]
    job = warm.Process(words, env=slurm_environment(here), together=True)
    try:
        while job.poll() is None and not list(here.glob("mlruns/checkpoints/tiny/*/checkpoints/last.ckpt")):
            time.sleep(0.05)
        job.send_signal(signal.SIGUSR1)
        while job.poll() is None and not (here / "requeued").exists():
            time.sleep(0.05)
        job.send_signal(signal.SIGTERM)  # which Lightning passes over in a job that will be requeued
        job.kill()
        out, _ = job.communicate(timeout=60)
    finally:
        job.kill()
    assert (here / "hpc_ckpt_1.ckpt").exists(), out[-3000:]
    content = yaml.safe_load(config.read_text())
    content["trainer"]["max_epochs"] = 40 + int(_epoch(here / "hpc_ckpt_1.ckpt"))  # so that it ends soon
    config.write_text(yaml.safe_dump(content))
    again = warm.run(words, env=slurm_environment(here))
    assert again.returncode == 0, again.stdout + again.stderr
    until_all_delivered(here / "mlruns")
    client = MlflowClient(store_at(here / "mlruns").uri)
    (run,) = client.search_runs([found.experiment_id for found in client.search_experiments()])
    assert run.info.status == "FINISHED"
    assert run.data.tags["plt_nn.resumes"] == "1"
    for name in ("train_loss", "val_loss"):
        steps = Counter(row.step for row in client.get_metric_history(run.info.run_id, name))
        assert set(steps.values()) == {1}
        assert len(steps) == content["trainer"]["max_epochs"], "none left out"


def _epoch(path: Path) -> int:
    import torch

    return int(torch.load(path, weights_only=True)["epoch"])
