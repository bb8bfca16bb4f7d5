"""The verbs of training on real data: what a fit leaves behind, and what the other verbs make of it."""

import json
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from PIL import Image
from safetensors import safe_open

from plt_nn import DigitsData
from plt_nn.tracking import store_at
from plt_nn.tracking.spool.folder import spool_folders
from plt_nn.tracking.upload.backlog import wait_for_delivery
from tests import warm
from tests.deliveries import until_all_delivered

Completed = subprocess.CompletedProcess[str]
Call = Callable[..., Completed]
Tiny = Callable[..., Path]
Fitted = tuple[Path, Completed]


def only_run(folder: Path) -> Run:
    until_all_delivered(folder / "mlruns")
    client = MlflowClient(store_at(folder / "mlruns").uri)
    experiments = [found.experiment_id for found in client.search_experiments()]
    (run,) = client.search_runs(experiments)
    return client.get_run(run.info.run_id)


def best_file(folder: Path) -> Path:
    (file,) = folder.glob("mlruns/checkpoints/*/*/checkpoints/best.safetensors")
    return file


def model_file(folder: Path) -> Path:
    """The file of the run's model in MLflow."""
    (file,) = folder.glob("mlruns/artifacts/*/models/*/artifacts/best.safetensors")
    return file


def recorded(file: Path) -> dict[str, float]:
    with safe_open(file, "pt") as opened:
        metrics: dict[str, float] = json.loads(opened.metadata()["metrics"])
    return metrics


def measured(done: Completed) -> dict[str, float]:
    """The metrics of the table that Lightning prints."""
    assert done.returncode == 0, done.stderr
    return {name: float(value) for name, value in re.findall(r"(\w+_\w+)\s+│\s+([\d.e-]+)", done.stdout)}


# -- fit --------------------------------------------------------------------------------------------------------------


def test_a_fit_leaves_its_run(fitted: Fitted) -> None:
    folder, _ = fitted
    run = only_run(folder)
    assert run.info.status == "FINISHED"
    client = MlflowClient(store_at(folder / "mlruns").uri)
    losses = [row.value for row in client.get_metric_history(run.info.run_id, "val_loss")]
    assert len(losses) == 3
    assert run.data.metrics["best/val_loss"] == min(losses) == pytest.approx(recorded(best_file(folder))["val_loss"])
    assert run.data.params["model.class_path"] == "plt_nn.Classifier"
    assert run.data.params["model.init_args.optimizer.init_args.lr"] == "0.01"
    assert run.data.params["data.init_args.batch_size"] == "64"
    assert run.data.tags["seed"] == "0"
    assert run.data.tags["command"].endswith("fit --config tiny.yaml")
    artifacts = folder / "mlruns" / "artifacts" / "tiny" / run.info.run_id / "artifacts"
    assert {str(file.relative_to(artifacts)) for file in artifacts.rglob("*.*")} >= {"config.yaml", "summary.json"}
    (model,) = client.search_logged_models([run.info.experiment_id])
    assert run.outputs is not None
    assert [output.model_id for output in run.outputs.model_outputs] == [model.model_id]
    assert model_file(folder).read_bytes() == best_file(folder).read_bytes()
    assert "| best val_loss |" in run.data.tags["mlflow.note.content"]
    assert yaml.safe_load((artifacts / "config.yaml").read_text())["trainer"]["max_epochs"] == 3
    assert best_file(folder).with_name("last.ckpt").is_file()


def test_a_fit_tells_what_it_reached(fitted: Fitted) -> None:
    folder, done = fitted
    run, best = only_run(folder), recorded(best_file(folder))
    for words in (f"{best['val_loss']:.6g}", f"{best['val_acc']:.4g}", "max_epochs=3 reached", "1,210"):
        assert words in done.stdout
    uid = run.data.tags["plt_nn.uid"]
    assert f"plt-nn ui --run {uid}" in done.stdout
    summary = json.loads(next(folder.rglob("summary.json")).read_text())
    assert summary["run"] == uid
    assert float(summary["best val_loss"].split()[0]) == pytest.approx(best["val_loss"], rel=1e-5)
    lines = (done.stdout + done.stderr).splitlines()
    assert not [line for line in lines if "Warning" in line and "not in MLflow yet" not in line]  # a busy machine


def test_the_logged_configuration_gives_the_same_numbers_again(fitted: Fitted, call: Call, store: Path) -> None:
    folder, _ = fitted
    config = next(folder.rglob("artifacts/config.yaml"))
    assert call("fit", "--config", config).returncode == 0
    assert recorded(best_file(store.parent)) == recorded(best_file(folder))


def test_a_fit_goes_on_from_a_checkpoint(fitted: Fitted, call: Call, store: Path) -> None:
    folder, _ = fitted
    last = best_file(folder).with_name("last.ckpt")
    words = ("--config", folder / "tiny.yaml", "--ckpt_path", last, "--trainer.max_epochs", "5")
    done = call("fit", *words)
    assert done.returncode == 0, done.stderr
    run = only_run(store.parent)
    rows = MlflowClient(store_at(store).uri).get_metric_history(run.info.run_id, "val_loss")
    assert [row.step for row in rows] == [91, 114], "epochs 3 and 4, at 23 steps an epoch"
    assert run.data.metrics["best/val_loss"] <= recorded(best_file(folder))["val_loss"]


def test_a_misspelt_metric_is_met_with_those_that_exist(tiny: Tiny, call: Call, store: Path) -> None:
    config = tiny(lambda config: config["trainer"]["callbacks"][0]["init_args"].update(monitor="val_los"))
    done = call("fit", "--config", config)
    assert done.returncode == 2
    sentence = done.stderr[done.stderr.rindex("plt-nn: ") :]
    assert "Did you mean 'val_loss'" in sentence
    assert "Logged: " in sentence
    for name in ("val_acc", "val_ece", "val_f1", "val_loss"):
        assert name in sentence
    assert "Traceback" not in done.stderr
    assert only_run(store.parent).info.status == "FAILED"


def test_a_trial_of_one_batch_leaves_nothing(tiny: Tiny, call: Call, here: Path) -> None:
    done = call("fit", "--config", tiny(), "--trainer.fast_dev_run", "1")
    assert done.returncode == 0, done.stderr
    assert {entry.name for entry in here.iterdir()} == {"tiny.yaml"}
    assert "None" not in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(("signal_", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_fit_and_the_best_is_kept(
    signal_: signal.Signals,
    status: int,
    tiny: Tiny,
    start_warm: Callable[..., warm.Process],
    call: Call,
    here: Path,
) -> None:
    config = tiny(lambda config: config["trainer"]["callbacks"][0]["init_args"].update(patience=100_000))
    running = start_warm("fit", "--config", config, "--trainer.max_epochs", "100000")
    try:
        while running.poll() is None and not list(here.rglob("best.safetensors")):
            time.sleep(0.05)
        running.send_signal(signal_)
        out, _ = running.communicate(timeout=warm.PATIENCE)
    finally:
        running.kill()
    assert running.returncode == status, out[-2000:]
    assert "Traceback" not in out
    best = recorded(best_file(here))
    assert f"{best['val_loss']:.6g}" in out, "the summary"
    (spool,) = spool_folders(here / "mlruns")
    assert wait_for_delivery(spool, warm.PATIENCE).is_empty, "after a signal a fit waits for ten seconds only"
    run = only_run(here)
    assert run.info.status == "KILLED"
    assert run.data.tags["plt_nn.failure"]
    assert model_file(here).read_bytes() == best_file(here).read_bytes()
    assert measured(call("validate", "--config", config, "--ckpt_path", best_file(here))) == pytest.approx(best)


@pytest.mark.slow
@pytest.mark.multiprocess
def test_two_processes_from_the_command_line(tiny: Tiny, process: Call, here: Path, store: Path) -> None:
    words = ("--trainer.devices", "2", "--trainer.strategy", "ddp", "--trainer.max_epochs", "2")
    done = process("fit", "--config", tiny(), *words, folder=here)
    assert done.returncode == 0, done.stdout + done.stderr
    run = only_run(here)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["best/val_loss"] == pytest.approx(recorded(best_file(here))["val_loss"])
    assert done.stdout.count("best val_loss") == 1, "one process tells"


# -- validate, test, predict ------------------------------------------------------------------------------------------


def test_validate_gives_the_recorded_best(fitted: Fitted, call: Call, here: Path) -> None:
    folder, _ = fitted
    for file in (best_file(folder), model_file(folder)):
        done = call("validate", "--config", folder / "tiny.yaml", "--ckpt_path", file)
        assert measured(done) == pytest.approx(recorded(file), rel=1e-6)
    assert not list(here.iterdir()), "measuring leaves no run"


def test_validate_without_weights_says_so(tiny: Tiny, call: Call) -> None:
    with pytest.warns(UserWarning, match="--ckpt_path gives trained weights"):
        assert call("validate", "--config", tiny()).returncode == 0


def test_test_needs_test_data(fitted: Fitted, call: Call) -> None:
    folder, _ = fitted
    words = ("test", "--config", folder / "tiny.yaml", "--ckpt_path", best_file(folder))
    done = call(*words)
    assert done.returncode == 1
    assert "There is no test split (there are: train, val): set test_fraction above 0." in done.stderr
    assert set(measured(call(*words, "--data.test_fraction", "0.2"))) == {
        "test_loss",
        "test_acc",
        "test_f1",
        "test_ece",
    }


def test_predict_writes_a_row_per_sample(fitted: Fitted, call: Call, here: Path) -> None:
    folder, _ = fitted
    done = call("predict", "--config", folder / "tiny.yaml", "--ckpt_path", best_file(folder))
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(here / "predictions.csv")
    digits = [str(digit) for digit in range(10)]
    assert list(table.columns) == ["index", "predicted", *digits]
    assert list(table["index"]) == list(range(359))
    np.testing.assert_allclose(table[digits].sum(axis=1), 1.0, rtol=1e-5)
    data = DigitsData(layout="flat")
    data.setup()
    right = (table["predicted"].to_numpy() == data.splits["val"].y.numpy()).mean()
    assert right == pytest.approx(recorded(best_file(folder))["val_acc"])


def test_predictions_bear_the_names_of_the_classes(tiny: Tiny, call: Call, here: Path) -> None:
    for name in ("ants", "bees"):
        (here / "photos" / name).mkdir(parents=True)
        for number in range(5):
            Image.new("RGB", (16, 16), (40 * number, 0, 0)).save(here / "photos" / name / f"{number}.png")

    def photos(config: dict[str, Any]) -> None:
        arguments = {"root": "photos", "image_size": 16, "num_workers": 0}
        config["data"] = {"class_path": "plt_nn.ImageFolderData", "init_args": arguments}
        net = {"class_path": "plt_nn.ConvNet", "init_args": {"in_channels": 3, "channels": [4], "out_features": 2}}
        config["model"]["init_args"]["net"] = net

    with pytest.warns(UserWarning, match="--ckpt_path"):
        done = call("predict", "--config", tiny(photos))
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(here / "predictions.csv")
    assert list(table.columns) == ["index", "file", "predicted", "ants", "bees"]
    assert list(table["predicted"]) == list(np.where(table["ants"] > table["bees"], "ants", "bees"))


@pytest.mark.parametrize("is_plain", [True, False])
def test_progress_is_told_in_lines_where_there_is_no_terminal(call: Call, tiny: Tiny, is_plain: bool) -> None:
    words = ["--trainer.enable_progress_bar", "true", "--trainer.max_epochs", "1", "--trainer.logger", "false"]
    done = call("fit", "--config", tiny(), *words, *["--plain"] * is_plain)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^Epoch 0/0: train_loss \d\.\d{4}, val_loss \d\.\d{4} \(best\), val_acc ", done.stdout, re.M)
    assert "\x1b" not in done.stdout
