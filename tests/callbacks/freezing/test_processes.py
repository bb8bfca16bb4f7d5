"""A schedule on two processes: no drift, the gradients of one, exact resumption, errors that name what differs."""

import importlib.util
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from plt_nn import FreezingSchedule
from tests import warm

pytestmark = [pytest.mark.multiprocess, pytest.mark.slow]
JOB = Path(__file__).with_name("processes_job.py")
SPAWN = """
import sys
from pathlib import Path
import torch
sys.path.insert(0, str(Path(sys.argv[1]).parent))
from processes_job import PHASES, Net, fit
from plt_nn import FreezingSchedule
if __name__ == "__main__":
    module = fit(2, [FreezingSchedule(PHASES)], strategy="ddp_spawn")
    torch.save(module.state_dict(), sys.argv[2])
"""


def environment() -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if name != "PL_GLOBAL_SEED"}
    return plain | {"OMP_NUM_THREADS": "1"}


def assert_it_went_well(done: "subprocess.CompletedProcess[str]") -> None:
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


@pytest.fixture(scope="module")
def job() -> Any:
    spec = importlib.util.spec_from_file_location("processes_job", JOB)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("processes")
    assert_it_went_well(warm.run_ranks(2, [JOB, folder], env=environment()))
    return folder


@pytest.fixture(scope="module")
def report(folder: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return report


def test_the_replicas_are_the_same_under_every_kind_of_ddp(report: dict[str, Any]) -> None:
    assert report["drift"] == dict.fromkeys(["ddp", "find unused", "static graph", "accumulate and clip", "bf16"], 0.0)


def test_only_what_is_trained_is_exchanged(report: dict[str, Any]) -> None:
    # (parameters, buffers): the head alone; with the layer before it and its norm; all. Buffers of frozen norms never.
    assert report["steps"]["ddp"] == [[2, 0], [6, 0], [10, 0]]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("ddp", {}), ("accumulate and clip", {"accumulate_grad_batches": 3, "gradient_clip_val": 0.5, "max_epochs": 8})],
)
def test_two_processes_give_the_gradients_of_one(folder: Path, job: Any, name: str, arguments: dict[str, Any]) -> None:
    both = load_file(folder / f"{name}.safetensors")
    gradients = job.Gradients()
    job.fit(1, [FreezingSchedule(job.PHASES), gradients], **arguments)
    assert both.keys() == gradients.gradients.keys()
    assert {key.partition("/")[2] for key in both} == {name for name, _ in job.Net().named_parameters()}
    for key, gradient in gradients.gradients.items():
        torch.testing.assert_close(both[key], gradient, rtol=1e-4, atol=1e-6, msg=key)


def test_a_weight_that_differs_between_processes_is_an_error_that_names_it(report: dict[str, Any]) -> None:
    assert "the weights of the 2 processes differ in top.weight." in report["differs"]


def test_a_frozen_weight_that_changes_is_an_error_that_names_it(report: dict[str, Any]) -> None:
    assert report["frozen"] != "none"
    assert "first.0.bias" in report["frozen"]


def test_a_resumed_run_on_two_processes_is_bit_for_bit_the_same(report: dict[str, Any]) -> None:
    assert report["not the same"] == []


def test_another_number_of_processes_goes_on_from_the_checkpoint(folder: Path, job: Any) -> None:
    schedule = FreezingSchedule(job.PHASES)
    gradients = job.Gradients()
    job.fit(1, [schedule, gradients], folder / "steps" / "step=8.ckpt")
    both = load_file(folder / "ddp.safetensors")
    assert min(int(key.partition("/")[0]) for key in gradients.gradients) == 8
    assert schedule.current == 2
    torch.testing.assert_close(gradients.gradients["8/top.weight"], both["8/top.weight"], rtol=1e-4, atol=1e-6)


def test_spawned_processes_give_the_same_weights(tmp_path: Path, job: Any) -> None:
    (tmp_path / "spawn.py").write_text(SPAWN)
    assert_it_went_well(warm.run([tmp_path / "spawn.py", JOB, tmp_path / "weights.pt"], env=environment()))
    spawned = torch.load(tmp_path / "weights.pt", weights_only=True)
    alone = job.fit(1, [FreezingSchedule(job.PHASES)]).state_dict()
    assert spawned.keys() == alone.keys()
    for name in alone:
        torch.testing.assert_close(spawned[name], alone[name], rtol=1e-4, atol=1e-5)
