"""What MLflow refuses, what does not fit on the disk, and what was deleted: nothing is lost in silence."""

import json
import re
import subprocess
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from lightning.pytorch import Trainer
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from plt_nn import MLP, Classifier, DigitsData, DurableMLFlowLogger
from plt_nn.tracking.spool.events import Metrics, Params, Tags, UnknownEvent
from plt_nn.tracking.spool.folder import SpoolFolder
from plt_nn.tracking.upload.deliver_with_retries import upload
from plt_nn.tracking.upload.start import start_uploader
from plt_nn.tracking.upload.state import load_state
from tests import warm
from tests.tracking.read_back import (
    JOB,
    PATIENCE,
    call,
    delivered,
    end,
    metrics,
    new_spool,
    run_of,
    start,
    start_fresh,
    until_delivered,
    written,
)
from tests.tracking.servers import Front, MLflowServer, end_uploaders, the_spool, until

pytestmark = [pytest.mark.multiprocess, pytest.mark.usefixtures("clean")]

INFINITE, NAN = float("inf"), float("nan")


def deliver(folder: SpoolFolder) -> None:
    """Delivers a spool that nobody writes to, in this process; fails if anything stands in the way."""
    assert upload(folder, threading.Event(), patience=PATIENCE), load_state(folder.state).error


# -- names and values -------------------------------------------------------------------------------------------------

KEYS = {
    "loss": "loss",
    "a#b": "a_b",
    "a@b": "a_b_2",
    "a_b": "a_b_3",
    "a//b": "a/_/b",
    "": "_",
    "..": "__2",
    "..a": "_.a",
    "/root": "_/root",
    "a/../b": "a/_/b_2",
    "ünïcödé 損失": "ünïcödé 損失",
    "x" * 300: "x" * 250,
    "損" * 250: "損" * 250,
    "y" * 248 + "/../z": "y" * 248 + "/_",
    "z" * 248 + "/../z": "z" * 248 + "/_",
    "w" * 249 + "/z": "w" * 249,
    "line\nbreak\0\t": "line_break__",
}


def test_names_become_accepted_and_stay_distinct(server: MLflowServer, tmp_path: Path) -> None:
    writer = new_spool(tmp_path / "mlruns", server.uri)
    for number, key in enumerate(KEYS):
        writer.append(metrics(3, **{key: float(number)}))
    writer.append(Params({key: f"value {number}" for number, key in enumerate(KEYS)}))
    writer.append(Tags({key: f"value {number}" for number, key in enumerate(KEYS)}))
    writer.append(end())
    writer.close()
    deliver(writer.folder)
    run = run_of(server.client, writer.folder.uid)
    assert run.data.metrics == {accepted: float(number) for number, accepted in enumerate(KEYS.values())}
    values = {accepted: f"value {number}" for number, accepted in enumerate(KEYS.values())}
    assert run.data.params == values
    assert values.items() <= run.data.tags.items()
    assert run.data.tags["renamed/a_b_2"] == "a@b"
    assert load_state(writer.folder.state).refused == 0


def test_values(server: MLflowServer, tmp_path: Path) -> None:
    writer = new_spool(tmp_path / "mlruns", server.uri)
    for step, value in enumerate([1.0, INFINITE, -INFINITE, NAN, 1e308, -5e-324]):
        writer.append(metrics(step, loss=value))
    long = {"short/key": "p" * 10_000, "k" * 300: "q" * 10_000, "損" * 250: "損" * 10_000, "a.b": "r" * 7000}
    writer.append(Params({**long, "a/b": "s" * 7000, "empty": "", "odd": "\0 \ud800"}))
    writer.append(Tags({"long": "t" * 20_000, "short": "here"}))
    writer.append(metrics(6, loss=2.0))
    writer.append(end())
    writer.close()
    deliver(writer.folder)
    client, run = server.client, run_of(server.client, writer.folder.uid)
    rows = {point.step: point.value for point in delivered(client, writer.folder.uid)}
    assert rows == {0: "1.0", 1: "nan", 2: "nan", 3: "nan", 4: "1e+308", 5: "-5e-324", 6: "2.0"}
    assert run.data.tags["not_finite/loss"] == "inf first at step 1; shown as NaN"
    assert run.data.params["short/key"] == "p" * 5999 + "…"
    assert run.data.params["k" * 250] == "q" * 5999 + "…"
    assert (run.data.params["empty"], run.data.params["odd"]) == ("", "\N{REPLACEMENT CHARACTER} ?")
    assert (len(run.data.tags["long"]), run.data.tags["short"]) == (5000, "here")
    kept = {item.path for folder in ("params", "tags") for item in client.list_artifacts(run.info.run_id, folder)}
    assert len(kept) == 7, "each long text is kept whole as an artifact"
    assert len(client.download_artifacts(run.info.run_id, "tags/long.txt", str(tmp_path))) > 0
    assert (tmp_path / "long.txt").read_text() == "t" * 20_000
    assert load_state(writer.folder.state).refused == 0


def test_what_mlflow_cannot_accept_is_set_aside_and_counted(server: MLflowServer, tmp_path: Path) -> None:
    writer = new_spool(tmp_path / "mlruns", server.uri)
    writer.append(metrics(2**70, loss=1.0))  # a step that no database holds
    writer.append(Metrics(0, {"loss": 2.0}, time=-5))
    writer.append(Params({"lr": "0.1"}))
    writer.append(UnknownEvent({"kind": "of a later version"}))
    for step in range(3):
        writer.append(metrics(step, accuracy=0.5))
    writer.append(end())
    writer.close()
    deliver(writer.folder)
    run = run_of(server.client, writer.folder.uid)
    assert (run.info.status, run.data.params) == ("FINISHED", {"lr": "0.1"})
    assert len(delivered(server.client, writer.folder.uid, "accuracy")) == 3
    refused = writer.folder.quarantine.read_text().splitlines()
    assert load_state(writer.folder.state).refused == len(refused) == 3
    assert all('"reason"' in line for line in refused)


@pytest.mark.usefixtures("warm_uploaders")
def test_artifacts_with_odd_names_and_one_that_is_not_wanted(server: MLflowServer, tmp_path: Path) -> None:
    logger = DurableMLFlowLogger("odd", store=str(tmp_path / "mlruns"), tracking_uri=server.uri, flush_seconds=PATIENCE)
    names = [
        "plain.txt",
        "a#b?.txt",
        "up/../../x.txt",
        "/root.txt",
        "50%25 ü.txt",
        "epoch=1-val_loss=0.5.ckpt",
        "a//b.txt",
    ]
    for name in names:
        logger.log_text(name, name)
    logger.finalize("success")
    folder = SpoolFolder(tmp_path / "mlruns" / "spool" / logger.uid)
    until_delivered(folder)
    run = run_of(server.client, logger.uid)
    assert (load_state(folder.state).missing, load_state(folder.state).refused) == ([], 0)
    assert artifacts(server.client, run.info.run_id) - {"git.diff"} == {
        "plain.txt",
        "a_b_.txt",
        "up/x.txt",
        "root.txt",
        "50_25 ü.txt",
        "epoch=1-val_loss=0.5.ckpt",
        "a/b.txt",
    }


def artifacts(client: MlflowClient, run_id: str, folder: str | None = None) -> set[str]:
    found: set[str] = set()
    for item in client.list_artifacts(run_id, folder):
        found |= artifacts(client, run_id, item.path) if item.is_dir else {item.path}
    return found


# -- disks that are full ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("warm_uploaders")
def test_a_spool_at_its_limit(server: MLflowServer, tmp_path: Path) -> None:
    logger = DurableMLFlowLogger(
        "full", store=str(tmp_path / "mlruns"), tracking_uri=server.uri, flush_seconds=PATIENCE, most_megabytes=1
    )
    with pytest.warns(UserWarning, match="has reached its limit of 1 MB: what is logged is being lost"):
        log_steps(logger, range(15_000))
    logger.log_hyperparams({"a": 1})
    with pytest.warns(UserWarning, match=r"[\d,]+ rows could not be written .* and are lost"):
        logger.finalize("success")
    folder = SpoolFolder(tmp_path / "mlruns" / "spool" / logger.uid)
    until_delivered(folder)
    lost = load_state(folder.state).lost
    assert lost > 1000
    assert folder.size() < (1 << 20) + 10_000
    rows = delivered(server.client, logger.uid)
    assert rows == written(folder)
    assert len(rows) + lost == 15_000
    run = run_of(server.client, logger.uid)
    assert (run.info.status, run.data.params) == ("FINISHED", {"a": "1"})
    assert run.data.tags["plt_nn.lost_rows"].startswith(f"{lost}: ")


def log_steps(logger: DurableMLFlowLogger, steps: Iterable[int]) -> None:
    for step in steps:
        logger.log_metrics({"loss": step / 7}, step=step)


@pytest.mark.slow
def test_a_disk_that_is_full(server: MLflowServer, tmp_path: Path) -> None:
    store = tmp_path / "mlruns"
    words = ("--store", store, "--uri", server.uri, "--steps", 1200, "--seconds", 0, "--flush", PATIENCE)
    status, output = call(JOB, *words, "--room", 70_000)
    assert status == 0, output
    assert "what is logged is being lost. Training continues; what is lost is counted" in output
    lost = re.search(r"([\d,]+) rows could not be written", output)
    assert lost is not None, output
    folder = the_spool(store)
    until_delivered(folder)
    rows = delivered(server.client, folder.uid)
    assert rows == written(folder)
    assert len(rows) + int(lost[1].replace(",", "")) == 1200 + 1, "the end is lost too"


# -- what was deleted -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["run", "experiment"])
def test_what_is_deleted_in_mid_training_and_restored(what: str, server: MLflowServer, tmp_path: Path) -> None:
    client, store = server.client, tmp_path / "mlruns"
    logger = DurableMLFlowLogger(f"deleted {what}", store=str(store), tracking_uri=server.uri, flush_seconds=1.0)
    folder = SpoolFolder(store / "spool" / logger.uid)
    logger.log_metrics({"loss": 1.0}, step=1)
    until(lambda: load_state(folder.state).rows == 1, PATIENCE, "nothing is delivered")
    run = run_of(client, logger.uid).info
    client.delete_run(run.run_id) if what == "run" else client.delete_experiment(run.experiment_id)
    for step in range(2, 10):
        logger.log_metrics({"loss": 1.0 / step}, step=step)
    until(lambda: load_state(folder.state).error is not None, PATIENCE, "no reason is given")
    with pytest.warns(
        UserWarning, match=f"The {what} .*was deleted in MLflow; `mlflow {what}s restore .* brings it back"
    ):
        logger.finalize("success")
    end_uploaders(store)
    client.restore_run(run.run_id) if what == "run" else client.restore_experiment(run.experiment_id)
    deliver(folder)
    assert delivered(client, logger.uid) == written(folder)
    assert len(written(folder)) == 9
    assert run_of(client, logger.uid).info.status == "FINISHED"
    assert load_state(folder.state).refused == 0


# -- loggers that are used otherwise ----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.usefixtures("warm_uploaders")
def test_a_logger_that_serves_two_fits_and_a_test(server: MLflowServer, tmp_path: Path) -> None:
    logger = DurableMLFlowLogger(
        "twice", store=str(tmp_path / "mlruns"), tracking_uri=server.uri, flush_seconds=PATIENCE
    )
    module, data = Classifier(MLP(64, [4], 10)), DigitsData(layout="flat", batch_size=512, test_fraction=0.1)
    for epochs in (1, 2):
        trainer = Trainer(
            accelerator="cpu",
            max_epochs=epochs,
            logger=logger,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, data)
        assert run_of(server.client, logger.uid).info.status == "FINISHED"
    trainer.test(module, data)
    run = run_of(server.client, logger.uid)
    assert run.info.status == "FINISHED"
    assert "test_loss" in run.data.metrics
    assert "plt_nn.resumes" not in run.data.tags
    folder = SpoolFolder(tmp_path / "mlruns" / "spool" / logger.uid)
    assert delivered(server.client, logger.uid) == written(folder)


SCRIPT = """
import sys
from plt_nn import DurableMLFlowLogger
logger = DurableMLFlowLogger("script", store=sys.argv[1], tracking_uri=sys.argv[2])
for step in range(5):
    logger.log_metrics({"loss": 1 / (1 + step)}, step=step)
if sys.argv[3] == "late":
    logger.finalize("failed")
    logger.log_tags({"why": "it was told to"})
if sys.argv[3] == "fails":
    raise RuntimeError("told to fail")
"""


@pytest.mark.slow
def test_scripts_without_a_trainer(server: MLflowServer, tmp_path: Path) -> None:
    expected = {
        "ends": ("FINISHED", None),
        "fails": ("FAILED", "RuntimeError: told to fail"),
        "late": ("FAILED", None),
    }
    scripts = [start("-c", SCRIPT, tmp_path / how, server.uri, how) for how in expected]
    for (how, (status, reason)), script in zip(expected.items(), scripts, strict=True):
        output, _ = script.communicate(timeout=PATIENCE)
        assert script.returncode == (1 if how == "fails" else 0), output
        folder = the_spool(tmp_path / how)
        until_delivered(folder)
        assert delivered(server.client, folder.uid) == written(folder)
        assert len(written(folder)) == 5
        run = run_of(server.client, folder.uid)
        assert (run.info.status, run.data.tags.get("plt_nn.failure")) == (status, reason)


# -- logging in -------------------------------------------------------------------------------------------------------


USER, PASSWORD = "ann", "p@ss/wörd"
QUOTED = "p%40ss%2Fw%C3%B6rd"


@pytest.mark.slow
def test_a_password_in_the_environment(server: MLflowServer, front: Callable[..., Front], tmp_path: Path) -> None:
    guarded, store = front(login=(USER, PASSWORD)), tmp_path / "mlruns"
    login = {"MLFLOW_TRACKING_USERNAME": USER, "MLFLOW_TRACKING_PASSWORD": PASSWORD}
    job = start_fresh(JOB, "--store", store, "--steps", 100, variables={**login, "MLFLOW_TRACKING_URI": guarded.uri})
    until(lambda: list(store.glob("spool/*/events.jsonl")), PATIENCE, "the job has not begun")
    until(lambda: load_state(the_spool(store).state).rows > 0, PATIENCE, "nothing is delivered")
    shown = command_lines()
    output, _ = job.communicate(timeout=PATIENCE)
    assert job.returncode == 0, output
    assert_delivered_without_telling(server, store, shown + output)


def test_a_password_in_the_address(server: MLflowServer, front: Callable[..., Front], tmp_path: Path) -> None:
    guarded, store = front(login=(USER, PASSWORD)), tmp_path / "mlruns"
    uri = f"http://{USER}:{QUOTED}@{guarded.host}"
    logger = DurableMLFlowLogger("guarded", store=str(store), tracking_uri=uri, flush_seconds=PATIENCE)
    logger.log_hyperparams({"tracking_uri": uri})
    logger.log_metrics({"loss": 1.0}, step=1)
    until(lambda: load_state(the_spool(store).state).rows > 0, PATIENCE, "nothing is delivered")
    shown = command_lines()
    logger.finalize("success")
    assert_delivered_without_telling(server, store, shown)


def command_lines() -> str:
    shown = subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True, check=True).stdout
    assert "plt_nn.tracking.upload" in shown
    return shown


def assert_delivered_without_telling(server: MLflowServer, store: Path, shown: str) -> None:
    folder = the_spool(store)
    until_delivered(folder)
    assert delivered(server.client, folder.uid) == written(folder)
    assert all(PASSWORD not in value and QUOTED not in value for value in texts(run_of(server.client, folder.uid)))
    for secret in (PASSWORD, QUOTED, json.dumps(PASSWORD)[1:-1]):
        assert secret not in shown
        assert not [path for path in store.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]


def texts(run: Run) -> list[str]:
    return [*run.data.params.values(), *run.data.tags.values()]


@pytest.mark.slow
def test_sync_with_the_right_password_takes_over_from_an_uploader_that_has_a_wrong_one(
    server: MLflowServer, front: Callable[..., Front], tmp_path: Path
) -> None:
    guarded, store = front(login=("ann", "right")), tmp_path / "mlruns"
    writer = new_spool(store, guarded.uri)
    writer.append(metrics(1, loss=1.0))
    writer.append(end())
    writer.close()
    wrong = start_uploader(writer.folder, {"MLFLOW_TRACKING_USERNAME": "ann", "MLFLOW_TRACKING_PASSWORD": "wrong"})
    until(lambda: load_state(writer.folder.state).error is not None, PATIENCE, "no reason is given")
    right = {"MLFLOW_TRACKING_USERNAME": "ann", "MLFLOW_TRACKING_PASSWORD": "right"}
    status, output = call("-m", "plt_nn", "sync", "--store", store, variables=right, interpreter=warm.MLFLOW)
    assert status == 0, output
    assert wrong.wait(PATIENCE) == 0
    assert delivered(server.client, writer.folder.uid) == written(writer.folder)
    assert not writer.folder.handover.exists()
