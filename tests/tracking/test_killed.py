"""Fits that are killed, interrupted or ended by a scheduler: what was logged arrives, and the run can be resumed."""

import os
import random
import re
import shutil
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from mlflow.tracking import MlflowClient
from PIL import Image

from plt_nn.cli.resume import without_resume
from plt_nn.errors import ConfigError
from plt_nn.tracking import store_at
from plt_nn.tracking.spool.folder import SpoolFolder
from tests.cli.conftest import TINY
from tests.tracking.read_back import PATIENCE, Point, call, delivered, run_of, start, until_delivered, written
from tests.tracking.servers import MLflowServer, the_spool, until

pytestmark = [pytest.mark.slow, pytest.mark.multiprocess, pytest.mark.usefixtures("clean")]

EPOCH = 23  # steps
STEPS = 3 * EPOCH
FIT = ("-m", "plt_nn", "fit")
IMAGE_NET = {"in_features": 3 * 8 * 8, "hidden": [8], "out_features": 2, "flatten": True}
IMAGE_DATA = {"image_size": 8, "batch_size": 4, "num_workers": 2, "val_fraction": 0.2}
CURVES = ("train_loss", "train_acc", "val_loss", "val_acc", "epoch", "step_loss", "best/val_loss")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> set[Point]:
    """The rows of the curves of a fit that nothing has interrupted."""
    folder = in_folder(tmp_path_factory.mktemp("whole"), empty_database, seconds=0.0)
    status, output = call(*FIT, "--config", "slow.yaml", folder=folder)
    assert status == 0, output
    spool = the_spool(folder / "mlruns")
    until_delivered(spool)
    rows = curves(delivered(client_of(folder), spool.uid))
    assert {key for key, _, _ in rows} == set(CURVES)
    assert len({step for key, step, _ in rows if key == "step_loss"}) == STEPS
    return set(rows)


def test_a_fit_that_is_killed_twice(
    tmp_path: Path, empty_database: Path, whole: set[Point], monkeypatch: pytest.MonkeyPatch
) -> None:
    def go_on_at_once() -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ConfigError, match="is still training in another process; end that one first"):
            without_resume(["fit", "--resume", "last"])

    chosen = random.Random(1)
    folder, client = in_folder(tmp_path, empty_database), client_of(tmp_path)
    first = chosen.randint(EPOCH + 1, 2 * EPOCH - 1)
    kill_at(first, signal.SIGKILL, folder, *FIT, "--config", "slow.yaml", meanwhile=go_on_at_once)
    spool = the_spool(folder / "mlruns")
    until_delivered(spool)
    assert delivered(client, spool.uid) == written(spool)
    assert all(count == 1 for point, count in delivered(client, spool.uid).items() if point.key != "epoch")
    run = run_of(client, spool.uid)
    assert run.info.status == "KILLED"
    assert run.data.tags["plt_nn.failure"].startswith("The training process was gone without a word")
    second = chosen.randint(2 * EPOCH + 1, STEPS - 1)
    kill_at(second, signal.SIGKILL, folder, *FIT, "--resume", "last")
    until_delivered(spool)
    assert run_of(client, spool.uid).info.status == "KILLED"
    finish(folder, spool, whole, resumes=2)


def test_a_fit_that_is_interrupted_and_then_told_to_end(
    tmp_path: Path, empty_database: Path, whole: set[Point]
) -> None:
    folder, client = in_folder(tmp_path, empty_database), client_of(tmp_path)
    assert kill_at(EPOCH + 5, signal.SIGINT, folder, *FIT, "--config", "slow.yaml") == 130
    spool = the_spool(folder / "mlruns")
    until_delivered(spool)
    assert delivered(client, spool.uid) == written(spool)
    run = run_of(client, spool.uid)
    assert (run.info.status, run.data.tags["plt_nn.failure"]) == ("KILLED", "Interrupted from the keyboard.")
    assert kill_at(2 * EPOCH + 5, signal.SIGTERM, folder, *FIT, "--resume", "last") == 143
    until_delivered(spool)
    run = run_of(client, spool.uid)
    assert (run.info.status, run.data.tags["plt_nn.failure"]) == ("KILLED", "Ended by SIGTERM.")
    finish(folder, spool, whole, resumes=2)


def test_sigterm_to_the_whole_group_with_loaders_workers(tmp_path: Path, empty_database: Path) -> None:
    images = small_images(tmp_path / "images")

    def change(config: dict[str, Any]) -> None:
        config["model"]["init_args"]["net"] = {"class_path": "plt_nn.MLP", "init_args": IMAGE_NET}
        config["data"] = {"class_path": "plt_nn.ImageFolderData", "init_args": {"root": str(images), **IMAGE_DATA}}

    folder, client = in_folder(tmp_path, empty_database, 0.05, change), client_of(tmp_path)
    assert kill_at(15, signal.SIGTERM, folder, *FIT, "--config", "slow.yaml", group=True) == 143
    spool = the_spool(folder / "mlruns")
    until_delivered(spool)
    assert delivered(client, spool.uid) == written(spool)
    run = run_of(client, spool.uid)
    assert (run.info.status, run.data.tags["plt_nn.failure"]) == ("KILLED", "Ended by SIGTERM.")
    status, output = call(*FIT, "--resume", "last", folder=folder)
    assert status == 0, output
    until_delivered(spool)
    assert run_of(client, spool.uid).info.status == "FINISHED"
    steps = Counter(point.step for point in delivered(client, spool.uid, "step_loss").elements())
    assert steps == Counter(range(1, 31))


def test_a_run_is_gone_on_with_on_other_machines(
    tmp_path: Path, empty_database: Path, server: MLflowServer, whole: set[Point]
) -> None:
    def change(config: dict[str, Any]) -> None:
        logger = {"experiment_name": "elsewhere", "checkpoints": "last"}
        config["trainer"]["logger"] = {"class_path": "plt_nn.DurableMLFlowLogger", "init_args": logger}

    first = in_folder(tmp_path / "first", empty_database, change=change)
    second, third = tmp_path / "second", tmp_path / "third"
    second.mkdir()
    third.mkdir()
    variables = {"MLFLOW_TRACKING_URI": server.uri}
    kill_at(EPOCH + 7, signal.SIGKILL, first, *FIT, "--config", "slow.yaml", variables=variables)
    spool = the_spool(first / "mlruns")
    until_delivered(spool)
    assert run_of(server.client, spool.uid).info.status == "KILLED"
    words = (*FIT, "--resume", spool.uid)
    kill_at(2 * EPOCH + 9, signal.SIGKILL, second, *words, variables=variables)
    until_delivered(the_spool(second / "mlruns"))
    run = run_of(server.client, spool.uid)
    status, output = call(*FIT, "--resume", run.info.run_id, folder=third, variables=variables)
    assert status == 0, output
    until_delivered(the_spool(third / "mlruns"))
    run = run_of(server.client, spool.uid)
    assert (run.info.status, run.data.tags["plt_nn.resumes"]) == ("FINISHED", "2")
    assert set(curves(delivered(server.client, spool.uid))) == whole


def finish(folder: Path, spool: SpoolFolder, whole: set[Point], resumes: int) -> None:
    """Goes on with a run to its end, and holds it against a fit that nothing has interrupted."""
    status, output = call(*FIT, "--resume", "last", "--trainer.log_every_n_steps", 5, folder=folder)
    assert status == 0, output
    until_delivered(spool)
    client = client_of(folder)
    assert the_spool(folder / "mlruns").uid == spool.uid, "the same run"
    run = run_of(client, spool.uid)
    assert run.info.status == "FINISHED"
    assert run.data.tags["plt_nn.resumes"] == str(resumes)
    assert "plt_nn.failure" not in run.data.tags, "it has not failed in the end"
    assert {f"plt_nn.failure/{number}" for number in range(1, resumes + 1)} <= set(run.data.tags)
    assert run.data.tags["changed/trainer.log_every_n_steps"] == "5"
    assert run.data.params["trainer.log_every_n_steps"] == "1", "MLflow's parameters never change"
    rows = curves(delivered(client, spool.uid))
    twice = [
        step for step, count in Counter((key, step) for key, step, _ in rows if key != "epoch").items() if count > 1
    ]
    assert not twice
    assert set(rows) == whole


# -- starting and ending fits -----------------------------------------------------------------------------------------


def in_folder(
    folder: Path,
    database: Path,
    seconds: float = 0.03,
    change: Callable[[dict[str, Any]], object] = lambda config: None,
) -> Path:
    """A working folder with a store and the tiny configuration, logging the loss of each step."""
    config = yaml.safe_load(TINY)
    config["trainer"]["log_every_n_steps"] = 1
    config["trainer"]["callbacks"].append({"class_path": "durability_job.SlowSteps", "init_args": {"seconds": seconds}})
    change(config)
    (folder / "mlruns").mkdir(parents=True)
    shutil.copy(database, folder / "mlruns")
    (folder / "slow.yaml").write_text(yaml.safe_dump(config))
    return folder


def small_images(folder: Path) -> Path:
    """Two classes with 25 images each, of which 20 are trained on."""
    noise = np.random.default_rng(0)
    for name in ("dark", "light"):
        (folder / name).mkdir(parents=True)
        for number in range(25):
            pixels = noise.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def client_of(folder: Path) -> MlflowClient:
    return MlflowClient(store_at(folder / "mlruns").uri)


def curves(rows: Counter[Point]) -> Counter[Point]:
    return Counter({point: count for point, count in rows.items() if point.key in CURVES})


def kill_at(
    step: int,
    sent: signal.Signals,
    folder: Path,
    *words: object,
    group: bool = False,
    meanwhile: Callable[[], object] | None = None,
    **options: Any,
) -> int:
    """Starts a process, sends it a signal as soon as it has logged the loss of a step, and gives its exit status."""
    process = start(*words, folder=folder, **options)
    logged = re.compile(rb'"step":(\d+),"metrics":{"step_loss"')

    def is_there() -> bool:
        assert process.poll() is None, process.communicate()[0]
        events = [path.read_bytes() for path in folder.glob("mlruns/spool/*/events.jsonl")]
        return any(int(found) == step for text in events for found in logged.findall(text.rpartition(b'"begin"')[2]))

    try:
        until(is_there, PATIENCE, f"step {step} was not reached")
        if meanwhile is not None:
            meanwhile()
        os.killpg(process.pid, sent) if group else process.send_signal(sent)
        output, _ = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    if sent != signal.SIGKILL:
        assert "Traceback" not in output, output
    return process.wait()
