"""A compiled net in a whole fit: phases, features, checkpoints, best weights, and the model that stands alone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from safetensors.torch import load_file
from torch import nn

from plt_nn import BestLossStopping, Classifier, ConvNet, DigitsData, FreezingSchedule, FrozenFeatureCache, Phase
from plt_nn.callbacks import DeployableModel, LoadWeights
from plt_nn.inference.predictor import load_predictor

MADE: dict[str, Any] = {"in_channels": 1, "channels": [4, 8, 8], "out_features": 10}
RECIPE = {"class_path": "plt_nn.ConvNet", "init_args": MADE}
WAYS = ["net.compile()", "torch.compile(net)"]


@pytest.fixture(autouse=True)
def compiler() -> Iterator[None]:
    """Nothing that another test has compiled."""
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def make(way: str | None) -> Classifier:
    seed_everything(0, verbose=False)
    net: Any = ConvNet(**MADE)
    if way == "net.compile()":
        net.compile(backend="aot_eager")  # with the gradients too, and without a compiler of C++
    elif way is not None:
        net = torch.compile(net, backend="aot_eager")
    return Classifier(net)


def fit(module: Classifier, folder: Path, epochs: int = 3, ckpt_path: Path | None = None) -> Trainer:
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        limit_train_batches=6,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[
            FreezingSchedule([Phase("head"), Phase("last 2 stages", start=1), Phase("all", start=2)]),
            FrozenFeatureCache(folder=str(folder / "features")),
            BestLossStopping(dirpath=str(folder)),
            DeployableModel(RECIPE),
            ModelCheckpoint(folder, filename="last", enable_version_counter=False),
        ],
    )
    trainer.fit(module, datamodule=DigitsData(batch_size=64), ckpt_path=ckpt_path, weights_only=True)
    return trainer


@pytest.mark.parametrize("way", WAYS)
def test_it_trains_as_it_does_uncompiled_and_its_files_are_those_of_the_plain_net(
    way: str, tmp_path: Path, info: list[str]
) -> None:
    plain, compiled = make(None), make(way)
    expected = fit(plain, tmp_path / "plain").callback_metrics
    found = fit(compiled, tmp_path / "compiled").callback_metrics
    assert "Features are not cached: the net is compiled." in info
    for name, value in expected.items():
        assert float(found[name]) == pytest.approx(float(value), abs=1e-4), name
    weights = [load_file(tmp_path / name / "best.safetensors") for name in ("plain", "compiled")]
    assert weights[0].keys() == weights[1].keys()
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, rtol=1e-3, atol=1e-4)
    x = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    compiled.eval()
    with torch.inference_mode():
        assert torch.allclose(load_predictor(tmp_path / "compiled")(x), compiled(x).softmax(1), atol=1e-6)


@pytest.mark.parametrize("way", WAYS)
def test_it_goes_on_from_its_checkpoint(way: str, tmp_path: Path) -> None:
    whole = make(way)
    fit(whole, tmp_path / "whole")
    fit(make(way), tmp_path / "parts", epochs=2)
    resumed = make(way)
    trainer = fit(resumed, tmp_path / "parts", ckpt_path=tmp_path / "parts" / "last.ckpt")
    assert trainer.current_epoch == 3
    for name, tensor in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], tensor, msg=name)


@pytest.mark.parametrize("way", [None, *WAYS])
@pytest.mark.parametrize("prefix", ["net.", "net._orig_mod."])  # the latter as earlier versions have written it
def test_best_weights_are_loaded_whether_it_is_compiled_or_not(way: str | None, prefix: str, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    net = ConvNet(**MADE)
    file = tmp_path / "best.safetensors"
    save_file({f"{prefix}{name}": tensor for name, tensor in net.state_dict().items()}, file)
    module = make(way)
    LoadWeights(str(file)).on_test_start(Trainer(logger=False, accelerator="cpu"), module)
    inner = getattr(module.net, "_orig_mod", module.net)
    assert isinstance(inner, nn.Module)
    for name, tensor in inner.state_dict().items():
        assert torch.equal(tensor, net.state_dict()[name])
