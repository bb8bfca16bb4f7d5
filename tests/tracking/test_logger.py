"""The logger on real stores: what it is given arrives, once, where it was said to lie."""

import shlex
from argparse import Namespace
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from mlflow.tracking import MlflowClient

from plt_nn import MLP, EmbeddedMLFlowLogger, Regressor, SyntheticRegressionData
from plt_nn.tracking import store_at

Client = Callable[[EmbeddedMLFlowLogger], MlflowClient]
NewStore = Callable[[Path], str]


def fit(logger: EmbeddedMLFlowLogger, epochs: int = 3, callbacks: list[Callback] | None = None) -> None:
    Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=logger,
        callbacks=callbacks,
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(Regressor(MLP(2, [4], 1)), SyntheticRegressionData(samples=40, batch_size=16))


def run_of(logger: EmbeddedMLFlowLogger) -> str:
    assert logger.run_id is not None
    return logger.run_id


# -- metrics ----------------------------------------------------------------------------------------------------------


def test_every_row_of_a_fit_arrives_once_with_its_step_and_epoch(logger: EmbeddedMLFlowLogger, client: Client) -> None:
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


def test_many_waiting_rows_are_all_written(logger: EmbeddedMLFlowLogger, client: Client) -> None:
    for step in range(2500):
        logger.log_metrics({"loss": step / 7}, step=step)
    logger.finalize("success")
    rows = client(logger).get_metric_history(run_of(logger), "loss")
    assert Counter(row.step for row in rows) == Counter(range(2500))
    assert all(row.value == row.step / 7 for row in rows)


def test_values_that_are_tensors_or_not_finite(logger: EmbeddedMLFlowLogger, client: Client) -> None:
    logger.log_metrics({"tensor": torch.tensor(1.5), "whole": 2, "nan": float("nan")})  # type: ignore[dict-item]
    logger.finalize("success")
    metrics = client(logger).get_run(run_of(logger)).data.metrics
    assert (metrics["tensor"], metrics["whole"]) == (1.5, 2.0)
    assert metrics["nan"] != metrics["nan"]


def test_a_metric_with_an_illegal_name_harms_no_other(logger: EmbeddedMLFlowLogger, client: Client) -> None:
    logger.log_metrics({"val_acc@5": 0.5, "val_loss": 1.0, "f1 (macro)": 0.25})
    logger.finalize("success")
    metrics = client(logger).get_run(run_of(logger)).data.metrics
    assert metrics["val_loss"] == 1.0
    assert sorted(metrics.values()) == [0.25, 0.5, 1.0], "under names that MLflow allows"


# -- parameters -------------------------------------------------------------------------------------------------------


def test_hyperparameters_are_flat_and_masked(logger: EmbeddedMLFlowLogger, client: Client) -> None:
    logger.log_hyperparams({"net": {"hidden": [8, 8], "token": "hunter2"}, "long": "x" * 7000, "a$b@c": 1})
    logger.log_hyperparams(Namespace(seed=3))
    logger.log_hyperparams({f"many.{number}": number for number in range(250)})
    params = client(logger).get_run(run_of(logger)).data.params
    assert params.pop("long") == "x" * 6000
    assert {key: value for key, value in params.items() if not key.startswith("many")} == {
        "net.hidden": "[8, 8]",
        "net.token": "***",
        "a_b_c": "1",
        "seed": "3",
    }
    assert len(params) == 254


@pytest.mark.parametrize("key", ["/data/photos", "a//b", "../up", "a/./b", "."])
def test_a_key_that_looks_like_a_path(key: str, logger: EmbeddedMLFlowLogger, client: Client) -> None:
    logger.log_hyperparams({key: 1, "other": 2})
    params = client(logger).get_run(run_of(logger)).data.params
    assert sorted(params.values()) == ["1", "2"]


# -- artifacts, tags, status ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("experiment", ["digits", "two words", "50% ü"])
def test_artifacts_lie_in_the_store_wherever_it_is_opened_from(
    experiment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, client: Client, new_store: NewStore
) -> None:
    new_store(tmp_path / "mlruns")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    logger = EmbeddedMLFlowLogger(experiment)
    monkeypatch.chdir(tmp_path / "elsewhere")
    logger.log_text("hello", "notes/a.txt")
    (tmp_path / "b.bin").write_bytes(b"\0\1")
    logger.log_file(tmp_path / "b.bin", "best")
    location = client(logger).get_experiment(str(logger.experiment_id)).artifact_location
    root = tmp_path / "mlruns" / "artifacts" / experiment
    assert Path(unquote(urlparse(location).path)) == root
    assert (root / run_of(logger) / "artifacts" / "notes" / "a.txt").read_text() == "hello"
    assert (root / run_of(logger) / "artifacts" / "best" / "b.bin").read_bytes() == b"\0\1"
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_run_says_what_it_was_made_with(tmp_path: Path, client: Client, new_store: NewStore) -> None:
    store = new_store(tmp_path / "store")
    logger = EmbeddedMLFlowLogger("e", run_name="a name", store=store, tags={"who": "me"})
    logger.log_tags({"later": "yes"})
    run = client(logger).get_run(run_of(logger))
    assert run.info.run_name == "a name"
    assert {"version/plt-nn", "version/torch", "command", "python"} <= set(run.data.tags)
    assert (run.data.tags["who"], run.data.tags["later"]) == ("me", "yes")


class Fails(Callback):
    """Ends a fit in its second epoch."""

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch == 1:
            raise RuntimeError("told to fail")


def test_the_status_says_how_a_fit_ended(tmp_path: Path, client: Client, new_store: NewStore) -> None:
    store = new_store(tmp_path / "store")
    good = EmbeddedMLFlowLogger("e", store=store)
    fit(good, epochs=1)
    assert client(good).get_run(run_of(good)).info.status == "FINISHED"
    bad = EmbeddedMLFlowLogger("e", store=store)
    with pytest.raises(RuntimeError, match="told to fail"):
        fit(bad, callbacks=[Fails()])
    ended = client(bad).get_run(run_of(bad))
    assert ended.info.status == "FAILED"
    assert ended.data.metrics["epoch"] == 0, "what was logged before the end has arrived"


def test_a_logger_that_logs_nothing_opens_no_store(tmp_path: Path) -> None:
    logger = EmbeddedMLFlowLogger(store=str(tmp_path / "store"))  # processes other than the first do no more than this
    logger.finalize("success")
    assert not (tmp_path / "store").exists()


# -- which store ------------------------------------------------------------------------------------------------------


def test_the_environment_names_the_store_when_the_logger_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new_store: NewStore
) -> None:
    named, given = store_at(new_store(tmp_path / "named")), store_at(new_store(tmp_path / "given"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", named.uri)
    by_environment = EmbeddedMLFlowLogger("e", store=str(tmp_path / "default"))
    by_argument = EmbeddedMLFlowLogger("e", store=str(tmp_path / "default"), tracking_uri=given.uri)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////nowhere/mlflow.db")
    for logger, store in ((by_environment, named), (by_argument, given)):
        logger.log_hyperparams({"a": 1})
        assert MlflowClient(store.uri).get_run(run_of(logger)).data.params == {"a": "1"}
        assert store.uri in logger.ui_command()
    assert not (tmp_path / "default" / "mlflow.db").exists()


def test_two_stores_in_one_process(tmp_path: Path, client: Client, new_store: NewStore) -> None:
    first = EmbeddedMLFlowLogger("e", store=new_store(tmp_path / "first"))
    first.log_hyperparams({"a": 1})
    second = EmbeddedMLFlowLogger("e", store=new_store(tmp_path / "second"))
    second.log_hyperparams({"a": 2})
    assert client(first).get_run(run_of(first)).data.params == {"a": "1"}
    assert client(second).get_run(run_of(second)).data.params == {"a": "2"}


def test_a_second_logger_uses_the_experiment_that_is_there(tmp_path: Path, new_store: NewStore) -> None:
    store = new_store(tmp_path / "store")
    loggers = [EmbeddedMLFlowLogger("e", store=store) for _ in range(2)]
    for logger in loggers:
        logger.log_hyperparams({"a": 1})
    assert loggers[0].experiment_id == loggers[1].experiment_id
    assert loggers[0].run_id != loggers[1].run_id


def test_checkpoints_lie_beside_the_artifacts(logger: EmbeddedMLFlowLogger) -> None:
    assert (logger.save_dir, logger.name) == (str(logger.store.root / "checkpoints"), "an experiment")
    logger.log_hyperparams({"a": 1})
    assert logger.version == logger.run_id


# -- the command that opens a run -------------------------------------------------------------------------------------


def test_the_command_for_the_default_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new_store: NewStore
) -> None:
    monkeypatch.chdir(tmp_path)
    new_store(tmp_path / "mlruns")
    logger = EmbeddedMLFlowLogger()
    logger.log_hyperparams({"a": 1})
    assert logger.ui_command() == f"plt-nn ui --run {logger.run_id}"


@pytest.mark.parametrize("folder", ["runs", "my runs"])
def test_the_command_for_another_store_can_be_pasted(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new_store: NewStore
) -> None:
    monkeypatch.chdir(tmp_path)
    new_store(tmp_path / folder)
    logger = EmbeddedMLFlowLogger(store=folder)
    logger.log_hyperparams({"a": 1})
    assert shlex.split(logger.ui_command()) == ["plt-nn", "ui", "--store", folder, "--run", run_of(logger)]
