"""A model made on one device, loaded on another: on all that this machine has."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from lightning.pytorch import Trainer, seed_everything

from plt_nn import BestLossStopping, Classifier, ConvNet, DigitsData
from plt_nn.callbacks import DeployableModel
from plt_nn.inference.predictor import load_predictor
from plt_nn.inference.pyfunc import load

DEVICES = {"cpu": "cpu"} | ({"cuda": "gpu"} if torch.cuda.is_available() else {})  # and Lightning's names for them
MADE: dict[str, Any] = {"in_channels": 1, "channels": [4, 8], "out_features": 10}


@pytest.mark.parametrize("there", DEVICES)
@pytest.mark.parametrize("here", DEVICES)
def test_it_says_what_the_trainer_said(here: str, there: str, tmp_path: Path) -> None:
    seed_everything(0, verbose=False)
    module, data = Classifier(ConvNet(**MADE)), DigitsData(batch_size=64)
    recipe = {"class_path": "plt_nn.ConvNet", "init_args": MADE}
    trainer = Trainer(
        accelerator=DEVICES[here],
        devices=1,
        max_epochs=1,
        limit_train_batches=6,
        logger=False,
        default_root_dir=tmp_path,  # of Lightning's own checkpoint
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[BestLossStopping(dirpath=str(tmp_path)), DeployableModel(recipe)],
    )
    trainer.fit(module, datamodule=data)
    x = data.splits["val"].x[:20]
    module.eval()
    with torch.inference_mode():
        expected = module.to("cpu")(x).softmax(1)
    predictor = load_predictor(tmp_path, device=there)
    assert {parameter.device.type for parameter in predictor.parameters()} == {there}
    assert torch.allclose(predictor.predict(x), expected, atol=1e-5)
    said = load(str(tmp_path), {"device": there}).predict(x.numpy())
    assert isinstance(said, pd.DataFrame)
    assert torch.allclose(torch.tensor(said.filter(like="probability_").to_numpy()).float(), expected, atol=1e-5)
