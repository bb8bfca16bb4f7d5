"""The report of a run: made at the end of a fit, whatever the end, and never the reason of one."""

import base64
import gzip
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from plt_nn import MLP, BestLossStopping, Classifier, DigitsData, DurableMLFlowLogger, FreezingSchedule, Phase
from plt_nn.callbacks import FitCosts, ValidationFigures
from plt_nn.callbacks.lightning.callback_order import all_callbacks
from plt_nn.callbacks.stopping.best_weights import RestoreBest
from plt_nn.reports import RunReport, write
from plt_nn.tracking.read.spool_runs import spool_run
from tests.ports import free_port
from tests.tracking.servers import end_uploaders


class StopAfter(Callback):
    """Ends a fit in its second epoch."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch == 1:
            raise self.error


@pytest.fixture(autouse=True)
def nobody_delivers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What is logged waits on disk, so that it can be looked at."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    yield
    end_uploaders(tmp_path / "mlruns")


def fit(folder: Path, *callbacks: Callback) -> DurableMLFlowLogger:
    torch.manual_seed(0)
    uri = f"http://127.0.0.1:{free_port()}"
    logger = DurableMLFlowLogger("digits", store=str(folder / "mlruns"), tracking_uri=uri, flush_seconds=0)
    net = Classifier(MLP(64, [16], 10))
    phases = FreezingSchedule([Phase("head"), Phase("all", start=1)])
    options: dict[str, Any] = {"enable_model_summary": False, "enable_progress_bar": False, "log_every_n_steps": 5}
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=2,
        logger=logger,
        default_root_dir=folder,
        callbacks=[RunReport(), phases, BestLossStopping(), FitCosts(), ValidationFigures(), *callbacks],
        **options,
    )
    trainer.fit(net, DigitsData(layout="flat", batch_size=128))
    return logger


def reports(folder: Path) -> list[str]:
    return [file.read_text() for file in (folder / "mlruns" / "spool").glob("*/files/*/report.html")]


def data_of(page: str) -> dict[str, Any]:
    """What the page's script draws, with its arrays unpacked."""
    found: dict[str, Any] = json.loads(re.findall(r'id="data">(.*?)</script>', page, re.S)[0])
    found["block"] = gzip.decompress(base64.b64decode(re.findall(r'id="arrays">(.*?)</script>', page, re.S)[0]))
    return found


@pytest.mark.filterwarnings("ignore:.*are not in MLflow yet")
def test_a_fit_leaves_a_report_that_holds_all_it_has_logged(tmp_path: Path) -> None:
    logger = fit(tmp_path)
    (page,) = reports(tmp_path)
    data = data_of(page)
    spool = spool_run(logger.spool_folder)
    assert spool is not None
    (own,) = spool.histories().values()
    (loss,) = [panel for panel in data["curves"] if panel["name"] == "train_loss"]
    offset, length, kind = loss["lines"][0]["y"]
    drawn = np.frombuffer(data["block"], f"<{kind}", length, offset)
    np.testing.assert_array_equal(drawn, own["train_loss"].values.astype(np.float32))
    assert (data["metric"], data["mode"]) == ("val_loss", "min")
    assert [phase["name"].partition(" (")[0] for phase in data["runs"][0]["phases"]] == [
        "phase 0: head",
        "phase 1: all",
    ]
    assert {rate["name"] for rate in data["rates"]} >= {"lr/head"}
    assert 'class="matrix"' in page, "from the callback that shows the best validation, though it stands behind"
    last = spool.record.last
    assert last["cost/parameters"].value == last["cost/trained_parameters"].value == 64 * 16 + 16 + 170
    assert own["cost/trained_parameters"].values.tolist()[0] == 170
    assert last["cost/device_hours"].value > 0
    assert spool.record.tags["devices"] == "1 x CPU"
    assert (spool.record.tags["plt_nn.monitor"], spool.record.tags["plt_nn.mode"]) == ("val_loss", "min")


@pytest.mark.filterwarnings("ignore:.*are not in MLflow yet")
def test_an_end_by_an_error_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="oh no"):
        fit(tmp_path, StopAfter(ValueError("oh no")))
    (page,) = reports(tmp_path)
    assert "failed" in page


@pytest.mark.filterwarnings("ignore:.*are not in MLflow yet")
def test_a_report_that_fails_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> str:
        raise RuntimeError("no room")

    monkeypatch.setattr(write, "page", fail)
    with pytest.warns(UserWarning, match="report.html could not be made: RuntimeError: no room"):
        fit(tmp_path)
    assert reports(tmp_path) == []


def test_it_leaves_those_in_their_place_that_close_a_fit(tmp_path: Path) -> None:
    keeper, stopping, report = ModelCheckpoint(tmp_path), BestLossStopping("val_loss"), RunReport()
    trainer = Trainer(callbacks=[stopping, report, keeper], logger=False, enable_progress_bar=False)
    for callback in (stopping, report):
        callback.setup(trainer, LightningModule(), "fit")
    callbacks = all_callbacks(trainer)
    assert callbacks.index(report) < callbacks.index(keeper) < len(callbacks) - 1
    assert isinstance(callbacks[-1], RestoreBest), "the best weights are put back when the checkpoint has been written"
