"""Why a run has no model: it never had one, or MLflow has not heard of it yet."""

import shutil
from pathlib import Path

import pytest

from plt_nn import DurableMLFlowLogger
from plt_nn.deployment.find_model import find_model
from plt_nn.errors import ConfigError
from plt_nn.tracking import store_at
from plt_nn.tracking.spool.folder import SpoolFolder
from plt_nn.tracking.upload.backlog import wait_for_delivery
from tests import warm


def test_a_run_without_a_model_and_one_that_is_not_delivered(empty_database: Path, tmp_path: Path) -> None:
    store = store_at(tmp_path / "mlruns")
    store.root.mkdir(exist_ok=True)
    shutil.copy(empty_database, store.root)
    logger = DurableMLFlowLogger("none", store=str(store.root), flush_seconds=warm.PATIENCE)
    logger.log_metrics({"loss": 1.0}, step=0)
    logger.finalize("success")
    with pytest.raises(ConfigError, match="The run last has no model: it was not trained"):
        find_model("last", store)
    (store.checkpoints / "none" / logger.uid).mkdir(parents=True)  # as a fit leaves it
    spool = SpoolFolder(store.spool / logger.uid)
    assert wait_for_delivery(spool, warm.PATIENCE).is_empty
    with pytest.raises(ConfigError, match="was not trained with BestLossStopping"):
        find_model(logger.uid, store)
    with spool.events.open("ab") as file:  # as if the uploader had been killed before
        file.write(spool.events.read_bytes().splitlines(keepends=True)[-1])
    with pytest.raises(ConfigError, match="in MLflow yet: not all of it is delivered, `plt-nn sync`"):
        find_model(logger.uid, store)
