"""The logger on real stores: what it is given arrives, once, where it was said to lie."""

import json
import math
import re
import shlex
import signal
import subprocess
import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import numpy as np
import psutil
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from matplotlib.figure import Figure
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from PIL import Image
from safetensors.numpy import save_file

from plt_nn import MLP, DurableMLFlowLogger, Regressor, SyntheticRegressionData
from plt_nn.errors import ConfigError, TrackingError
from plt_nn.tracking import store_at
from plt_nn.tracking.logger import CheckpointPolicy
from plt_nn.tracking.spool.folder import SpoolFolder
from plt_nn.tracking.upload.backlog import wait_for_delivery
from tests import warm

pytestmark = pytest.mark.usefixtures("warm_uploaders")

Client = Callable[[DurableMLFlowLogger], MlflowClient]
Delivered = Callable[..., Run]
NewStore = Callable[[Path], str]


def fit(logger: DurableMLFlowLogger, epochs: int = 3, callbacks: list[Callback] | None = None, **options: Any) -> None:
    Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=logger,
        callbacks=callbacks,
        log_every_n_steps=1,
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"enable_checkpointing": False} | options,
    ).fit(Regressor(MLP(2, [4], 1)), SyntheticRegressionData(samples=40, batch_size=16))


def run_of(logger: DurableMLFlowLogger) -> str:
    assert logger.run_id is not None
    return logger.run_id


def artifacts(run: Run) -> Path:
    return Path(unquote(urlparse(run.info.artifact_uri).path))


# -- metrics ----------------------------------------------------------------------------------------------------------


def test_every_row_of_a_fit_arrives_once_with_its_step_and_epoch(logger: DurableMLFlowLogger, client: Client) -> None:
    fit(logger)
    history = client(logger).get_metric_history
    losses = history(run_of(logger), "val_loss")
    assert [row.step for row in losses] == [2, 5, 8], "three steps an epoch, counted from 0"
    assert len({row.value for row in losses}) == 3
    assert [row.step for row in history(run_of(logger), "train_loss")] == [2, 5, 8]
    epochs = {(row.step, row.value) for row in history(run_of(logger), "epoch")}
    assert epochs == {(2, 0), (5, 1), (8, 2)}
    metrics = client(logger).get_run(run_of(logger)).data.metrics
    assert set(metrics) == {"epoch", "train_loss", "val_loss", "val_mae", "val_r2"}


def test_many_waiting_rows_are_all_written(logger: DurableMLFlowLogger, client: Client) -> None:
    for step in range(2500):
        logger.log_metrics({"loss": step / 7}, step=step)
    logger.finalize("success")
    rows = client(logger).get_metric_history(run_of(logger), "loss")
    assert Counter(row.step for row in rows) == Counter(range(2500))
    assert all(row.value == row.step / 7 for row in rows)


def test_values_that_are_tensors_or_not_finite(logger: DurableMLFlowLogger, client: Client) -> None:
    logger.log_metrics({"tensor": torch.tensor(1.5), "whole": 2, "nan": float("nan")})  # type: ignore[dict-item]
    logger.finalize("success")
    metrics = client(logger).get_run(run_of(logger)).data.metrics
    assert (metrics["tensor"], metrics["whole"]) == (1.5, 2.0)
    assert metrics["nan"] != metrics["nan"]


def test_a_metric_with_an_illegal_name_harms_no_other(logger: DurableMLFlowLogger, client: Client) -> None:
    logger.log_metrics({"val_acc@5": 0.5, "val_loss": 1.0, "f1 (macro)": 0.25})
    logger.finalize("success")
    metrics = client(logger).get_run(run_of(logger)).data.metrics
    assert metrics["val_loss"] == 1.0
    assert sorted(metrics.values()) == [0.25, 0.5, 1.0], "under names that MLflow allows"


# -- parameters -------------------------------------------------------------------------------------------------------


def test_hyperparameters_are_flat_and_masked(logger: DurableMLFlowLogger, delivered: Delivered) -> None:
    logger.log_hyperparams({"net": {"hidden": [8, 8], "token": "hunter2"}, "long": "x" * 7000, "a$b@c": 1})
    logger.log_hyperparams(Namespace(seed=3))
    logger.log_hyperparams({f"many.{number}": number for number in range(250)})
    run = delivered(logger)
    params = dict(run.data.params)
    assert params.pop("long") == "x" * 5999 + "…"
    assert {key: value for key, value in params.items() if not key.startswith("many")} == {
        "net.hidden": "[8, 8]",
        "net.token": "***",
        "a_b_c": "1",
        "seed": "3",
    }
    assert len(params) == 254
    assert run.data.tags["renamed/a_b_c"] == "a$b@c"
    assert artifacts(run).joinpath("params/long.txt").read_text() == "x" * 7000, "none of it is lost"


@pytest.mark.parametrize("key", ["/data/photos", "a//b", "../up", "a/./b", "."])
def test_a_key_that_looks_like_a_path(key: str, logger: DurableMLFlowLogger, delivered: Delivered) -> None:
    logger.log_hyperparams({key: 1, "other": 2})
    params = delivered(logger).data.params
    assert sorted(params.values()) == ["1", "2"]


# -- artifacts, tags, status ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("experiment", ["digits", "two words", "50% ü"])
def test_artifacts_lie_in_the_store_wherever_it_is_opened_from(
    experiment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, delivered: Delivered, new_store: NewStore
) -> None:
    new_store(tmp_path / "mlruns")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    logger = DurableMLFlowLogger(experiment)
    monkeypatch.chdir(tmp_path / "elsewhere")
    logger.log_text("hello", "notes/a.txt")
    file = tmp_path / "b.bin"
    file.write_bytes(b"\0\1")
    logger.log_file(file, "best")
    file.write_bytes(b"changed before it was delivered")
    run = delivered(logger)
    root = tmp_path / "mlruns" / "artifacts" / experiment
    assert artifacts(run) == root / run.info.run_id / "artifacts"
    assert (artifacts(run) / "notes" / "a.txt").read_text() == "hello"
    assert (artifacts(run) / "best" / "b.bin").read_bytes() == b"\0\1"
    assert not list((tmp_path / "elsewhere").iterdir())
    assert not list((logger.store.spool / logger.uid / "files").rglob("*.*")), "what is delivered is not kept twice"


def test_a_run_says_what_it_was_made_with(tmp_path: Path, delivered: Delivered, new_store: NewStore) -> None:
    store = new_store(tmp_path / "store")
    logger = DurableMLFlowLogger("e", run_name="a name", store=store, tags={"who": "me"}, note="# Why")
    logger.log_tags({"later": "yes", "where": "https://me:hunter2@example.org"})
    logger.log_note("It *worked*.")
    run = delivered(logger)
    assert run.info.run_name == "a name"
    assert {"version/plt-nn", "version/torch", "command", "python", "mlflow.user"} <= set(run.data.tags)
    assert (run.data.tags["who"], run.data.tags["later"]) == ("me", "yes")
    assert run.data.tags["where"] == "https://***@example.org"
    assert run.data.tags["mlflow.note.content"] == "# Why\n\nIt *worked*."
    assert run.data.tags["plt_nn.uid"] == logger.uid == logger.version


def test_a_figure_becomes_a_picture(logger: DurableMLFlowLogger, delivered: Delivered) -> None:
    figure = Figure()
    figure.subplots().plot([1, 2])
    logger.log_figure(figure, "figures/line.png")
    with Image.open(artifacts(delivered(logger)) / "figures" / "line.png") as image:
        assert image.format == "PNG"


def test_a_data_set_becomes_an_input(logger: DurableMLFlowLogger, delivered: Delivered) -> None:
    for context in ("training", "validation"):
        logger.log_dataset("photos", context, f"digest of {context}", "/photos", {"samples": 3})
    run = delivered(logger)
    assert run.inputs is not None
    inputs = run.inputs.dataset_inputs
    found = {(i.tags[0].value, i.dataset.name, i.dataset.digest, i.dataset.profile) for i in inputs}
    assert found == {(c, "photos", f"digest of {c}", '{"samples": 3}') for c in ("training", "validation")}


def test_a_child_run_knows_its_parent(tmp_path: Path, delivered: Delivered, new_store: NewStore) -> None:
    store = new_store(tmp_path / "store")
    parent = DurableMLFlowLogger("sweep", store=store)
    parent.log_hyperparams({"what": "a sweep"})
    parent_run = delivered(parent).info.run_id
    by_uid = DurableMLFlowLogger("sweep", store=store, parent=parent.uid)
    by_id = DurableMLFlowLogger("sweep", store=store, parent=parent_run)
    for child in (by_uid, by_id):
        child.log_metrics({"loss": 1.0}, step=1)
        assert delivered(child).data.tags["mlflow.parentRunId"] == parent_run


def test_the_best_weights_are_the_runs_model(tmp_path: Path, logger: DurableMLFlowLogger, delivered: Delivered) -> None:
    weights = tmp_path / "best.safetensors"
    for step, loss in ((3, 2.0), (7, 1.0)):
        weights.write_bytes(f"weights of step {step}".encode())
        logger.log_model(weights, {"val_loss": loss}, step)
    run = delivered(logger)
    client = MlflowClient(logger.store.uri)
    assert [(row.step, row.value) for row in client.get_metric_history(run.info.run_id, "best/val_loss")] == [
        (3, 2.0),
        (7, 1.0),
    ]
    (model,) = client.search_logged_models([run.info.experiment_id])
    assert run.outputs is not None
    assert [(output.model_id, output.step) for output in run.outputs.model_outputs] == [(model.model_id, 7)]
    assert (model.name, model.source_run_id, str(model.status)) == ("best", run.info.run_id, "READY")
    assert [(metric.key, metric.value) for metric in model.metrics or []] == [("best/val_loss", 1.0)]
    local = Path(unquote(urlparse(model.artifact_location).path)) / "best.safetensors"
    assert local.read_bytes() == b"weights of step 7"


def test_a_better_model_takes_the_place_of_the_earlier_one(
    tmp_path: Path, logger: DurableMLFlowLogger, delivered: Delivered
) -> None:
    weights = tmp_path / "best.safetensors"
    for step in (3, 7):
        weights.write_bytes(f"weights of step {step}".encode())
        logger.log_model(weights, {"val_loss": 1 / step}, step)
        run = delivered(logger)
    (model,) = MlflowClient(logger.store.uri).search_logged_models([run.info.experiment_id])
    assert model.tags["plt_nn.step"] == "7"
    files = list((logger.store.root / "artifacts").rglob("best.safetensors"))
    assert [file.read_bytes() for file in files] == [b"weights of step 7"], "the older file is gone"


def test_a_model_is_delivered_whatever_its_metrics_are_called(
    tmp_path: Path, logger: DurableMLFlowLogger, delivered: Delivered
) -> None:
    weights = tmp_path / "best.safetensors"
    weights.write_bytes(b"weights")
    logger.log_model(weights, {"val_acc@5": 0.5, "val_far": float("inf")}, 3)
    run = delivered(logger)
    (model,) = MlflowClient(logger.store.uri).search_logged_models([run.info.experiment_id])
    assert str(model.status) == "READY"
    assert run.data.metrics["best/val_acc_5"] == 0.5
    assert math.isnan(run.data.metrics["best/val_far"])  # which MLflow shows as 0.0 of a model
    assert {metric.key for metric in model.metrics or []} == {"best/val_acc_5", "best/val_far"}


def test_what_a_model_has_reached_is_what_its_file_says(
    tmp_path: Path, logger: DurableMLFlowLogger, delivered: Delivered
) -> None:
    weights = tmp_path / "best.safetensors"
    logger.log_model(weights, {"val_loss": 2.0}, 3)
    metadata = {
        "metrics": json.dumps({"val_loss": 1.0}),
        "step": "7",
    }  # of a process that was killed before it logged that
    save_file({"a": np.zeros(1)}, weights, metadata)
    run = delivered(logger)
    (model,) = MlflowClient(logger.store.uri).search_logged_models([run.info.experiment_id])
    assert model.tags["plt_nn.step"] == "7"
    assert [(metric.key, metric.value, metric.step) for metric in model.metrics or []] == [("best/val_loss", 1.0, 7)]
    assert run.data.metrics["best/val_loss"] == 1.0


class Fails(Callback):
    """Ends a fit in its second epoch."""

    def __init__(self, error: type[BaseException]) -> None:
        self.error = error

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch == 1:
            raise self.error("told to fail")


def test_the_status_says_how_a_fit_ended(tmp_path: Path, client: Client, new_store: NewStore) -> None:
    store = new_store(tmp_path / "store")
    good = DurableMLFlowLogger("e", store=store)
    fit(good, epochs=1)
    assert client(good).get_run(run_of(good)).info.status == "FINISHED"
    bad = DurableMLFlowLogger("e", store=store)
    with pytest.raises(RuntimeError, match="told to fail"):
        fit(bad, callbacks=[Fails(RuntimeError)])
    assert wait_for_delivery(SpoolFolder(bad.store.spool / bad.uid), warm.PATIENCE).is_empty
    ended = client(bad).get_run(run_of(bad))
    assert ended.info.status == "FAILED"
    assert ended.data.tags["plt_nn.failure"] == "RuntimeError: told to fail"
    assert ended.data.metrics["epoch"] == 0, "what was logged before the end has arrived"
    stopped = DurableMLFlowLogger("e", store=store)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(SystemExit):
        fit(stopped, callbacks=[Fails(KeyboardInterrupt)])
    signal.signal(signal.SIGINT, handler)  # Lightning ignores Ctrl-C after the first
    assert wait_for_delivery(SpoolFolder(stopped.store.spool / stopped.uid), warm.PATIENCE).is_empty, (
        "it waits for 10 s only"
    )
    assert client(stopped).get_run(run_of(stopped)).info.status == "KILLED"


def test_a_scheduler_that_takes_the_job_back_does_not_end_the_run(
    logger: DurableMLFlowLogger, delivered: Delivered
) -> None:
    logger.log_metrics({"loss": 1.0}, step=1)
    logger.finalize("finished")  # Lightning says so in the handler of SLURM's signal, and then makes a checkpoint
    events = (logger.store.spool / logger.uid / "events.jsonl").read_text()
    assert '"kind":"end"' not in events
    assert delivered(logger).info.status == "FINISHED"


def test_a_logger_that_logs_nothing_opens_no_store(tmp_path: Path) -> None:
    logger = DurableMLFlowLogger(store=str(tmp_path / "store"))  # processes other than the first do no more than this
    logger.finalize("success")
    assert not (tmp_path / "store").exists()


def test_training_knows_nothing_of_mlflow(tmp_path: Path) -> None:
    code = f"""
import sys
from lightning.pytorch import Trainer
from plt_nn import MLP, DurableMLFlowLogger, Regressor, SyntheticRegressionData
logger = DurableMLFlowLogger("e", store={str(tmp_path / "store")!r}, tracking_uri="http://127.0.0.1:1", flush_seconds=0)
options = dict(enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False)
Trainer(accelerator="cpu", max_epochs=1, logger=logger, **options).fit(
    Regressor(MLP(2, [4], 1)), SyntheticRegressionData(samples=40, batch_size=16)
)
print(*{{name.partition(".")[0] for name in sys.modules}})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    (uploader,) = [p for p in psutil.process_iter(["cmdline"]) if str(tmp_path) in " ".join(p.info["cmdline"] or [])]
    uploader.terminate()
    assert not {"mlflow", "sqlalchemy", "requests"} & set(done.stdout.split())
    assert "are not in MLflow yet" in done.stderr
    assert "`plt-nn sync` delivers them at any time" in done.stderr


# -- checkpoints ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "kept"),
    [("none", 0), ("best", 1), ("last", 1), ("all", 3)],
)
def test_the_policy_says_which_checkpoints_are_kept(
    policy: CheckpointPolicy, kept: int, tmp_path: Path, new_store: NewStore
) -> None:
    logger = DurableMLFlowLogger("e", store=new_store(tmp_path / "store"), checkpoints=policy)
    callback = ModelCheckpoint(monitor="val_loss", save_top_k=2, save_last=True)
    fit(logger, epochs=5, callbacks=[callback], enable_checkpointing=True)
    run = MlflowClient(logger.store.uri).get_run(run_of(logger))
    files = {file.name: file.read_bytes() for file in artifacts(run).glob("checkpoints/*")}
    on_disk = {Path(path).name: Path(path).read_bytes() for path in callback.best_k_models}
    last = Path(callback.last_model_path)
    twins = {tag.removeprefix("same_as/checkpoints/") for tag in run.data.tags if tag.startswith("same_as/")}
    assert len(files) + len(twins) == kept
    assert len(set(files.values())) == len(files), "never the same bytes twice"
    if policy == "best":
        assert files == {Path(callback.best_model_path).name: Path(callback.best_model_path).read_bytes()}
    if policy == "last":
        assert files == {last.name: last.read_bytes()}
    if policy == "all":
        assert files.keys() | twins == on_disk.keys() | {last.name}


# -- which store ------------------------------------------------------------------------------------------------------


def test_the_environment_names_the_store_when_the_run_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new_store: NewStore, delivered: Delivered
) -> None:
    named, given = store_at(new_store(tmp_path / "named")), store_at(new_store(tmp_path / "given"))
    by_environment = DurableMLFlowLogger("e", store=str(tmp_path / "default"))
    by_argument = DurableMLFlowLogger("e", store=str(tmp_path / "default"), tracking_uri=given.uri)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", named.uri)
    for logger, store in ((by_environment, named), (by_argument, given)):
        logger.log_hyperparams({"a": 1})
        assert delivered(logger, store.uri).data.params == {"a": "1"}
        assert store.uri in logger.ui_command()
    assert not (tmp_path / "default" / "mlflow.db").exists()


@pytest.mark.parametrize("address", ["file:///data/mlruns", "mlruns", "./mlruns", "/data/mlruns"])
def test_a_folder_of_files_is_met_with_the_command_that_migrates_it(address: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"mlflow migrate-filestore --source .*mlruns --target sqlite:///"):
        DurableMLFlowLogger(store=str(tmp_path), tracking_uri=address)


def test_an_address_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'ftp://host' cannot be used; expected a server \(http://host:port\)"):
        DurableMLFlowLogger(store=str(tmp_path), tracking_uri="ftp://host")


def test_faults_of_the_arguments_are_told_together(tmp_path: Path) -> None:
    wrong: Any = "bset"
    with pytest.raises(ConfigError) as caught:
        DurableMLFlowLogger(store=str(tmp_path), checkpoints=wrong, flush_seconds=-1, resume="x")
    checkpoints, flush, resume = caught.value.faults
    assert "Did you mean 'best'?" in checkpoints
    assert (flush[:19], resume[:13]) == ("flush_seconds is -1", "resume is 'x'")


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    logger = DurableMLFlowLogger(store=str(tmp_path / "file"))
    with pytest.raises(TrackingError, match="Let `store` name a folder"):
        logger.log_metrics({"loss": 1.0})


def test_two_stores_in_one_process(tmp_path: Path, delivered: Delivered, new_store: NewStore) -> None:
    first = DurableMLFlowLogger("e", store=new_store(tmp_path / "first"))
    first.log_hyperparams({"a": 1})
    second = DurableMLFlowLogger("e", store=new_store(tmp_path / "second"))
    second.log_hyperparams({"a": 2})
    assert delivered(first).data.params == {"a": "1"}
    assert delivered(second).data.params == {"a": "2"}


def test_a_second_logger_uses_the_experiment_that_is_there(
    tmp_path: Path, new_store: NewStore, delivered: Delivered
) -> None:
    store = new_store(tmp_path / "store")
    loggers = [DurableMLFlowLogger("e", store=store) for _ in range(2)]
    for logger in loggers:
        logger.log_hyperparams({"a": 1})
        delivered(logger)
    assert loggers[0].experiment_id == loggers[1].experiment_id
    assert loggers[0].run_id != loggers[1].run_id


def test_checkpoints_lie_beside_the_artifacts(logger: DurableMLFlowLogger) -> None:
    assert (logger.save_dir, logger.name) == (str(logger.store.root / "checkpoints"), "an experiment")
    assert re.fullmatch(r"\d{8}-\d{6}-[0-9a-f]{8}", logger.version)


# -- the command that opens a run -------------------------------------------------------------------------------------


def test_the_command_for_the_default_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    logger = DurableMLFlowLogger()
    assert logger.ui_command() == f"plt-nn ui --run {logger.uid}"


@pytest.mark.parametrize("folder", ["runs", "my runs"])
def test_the_command_for_another_store_can_be_pasted(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    logger = DurableMLFlowLogger(store=folder)
    assert shlex.split(logger.ui_command()) == ["plt-nn", "ui", "--store", folder, "--run", logger.uid]


def test_the_place_of_a_run_on_a_server_bears_no_password(tmp_path: Path) -> None:
    logger = DurableMLFlowLogger(store=str(tmp_path), tracking_uri="https://me:hunter2@mlflow.example.org")
    assert logger.ui_command() == "the MLflow UI of https://mlflow.example.org"
