from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from plt_nn.architectures import ConvNet
from plt_nn.backbones import Preprocessing
from plt_nn.deployment.export import example_inputs, export_model
from plt_nn.errors import ConfigError, ExportError
from plt_nn.inference.card import ModelCard
from plt_nn.inference.inputs import ImageInputs
from plt_nn.inference.predictor import Predictor
from tests.deployment.conftest import Fitted

Call = Callable[..., tuple[int, str, str]]
PREPROCESSING = Preprocessing(size=16, interpolation="bicubic")


@pytest.fixture
def predictor() -> Predictor:
    torch.manual_seed(0)
    arguments = {"in_channels": 3, "channels": [4, 4], "out_features": 3}
    recipe = {"class_path": "plt_nn.ConvNet", "init_args": arguments}
    card = ModelCard("classification", recipe, ImageInputs(PREPROCESSING), ("a", "b", "c"))
    return Predictor(ConvNet(3, [4, 4], 3), card, {})


@pytest.mark.slow
def test_a_fine_tuned_net_runs_in_onnxruntime_on_images_of_any_size(in_copy: Fitted, call: Call) -> None:
    images = [in_copy.val[0], in_copy.val[8]]
    words = ["--model", "last", "--samples", *images]
    status, out, err = call("export", *words, "--with-preprocessing")
    assert status == 0, err
    assert "Parity with the original on 2 images, in batches of 2 and 1: " in out
    session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
    call("predict", "--model", "last", *images, "--out", "p.parquet")
    import pandas as pd

    expected = pd.read_parquet("p.parquet")[["probability_dark", "probability_light"]].to_numpy()
    for image, probabilities in zip(images, expected, strict=True):
        pixels = np.asarray(Image.open(image).convert("RGB"))[None]
        (said,) = session.run(None, {"images": pixels})
        assert np.abs(said - probabilities).max() < 0.01
    status, _, err = call("export", *words)
    assert status == 2
    assert "--overwrite" in err


@pytest.mark.parametrize("kind", ["onnx", "pt2", "safetensors"])
def test_an_exported_file_says_the_same_for_batches_of_any_size(
    kind: str, predictor: Predictor, tmp_path: Path
) -> None:
    out, samples = tmp_path / f"model.{kind}", example_inputs(predictor)
    parity = export_model(predictor, kind, out, samples)  # type: ignore[arg-type]  # a literal
    assert parity.difference < 1e-5
    assert {path.name for path in tmp_path.iterdir()} == {out.name, f"{out.name}.json"}
    more = torch.randn(7, 3, 16, 16)
    if kind == "onnx":
        said = onnxruntime.InferenceSession(str(out)).run(None, {"x": more.numpy()})[0]
    elif kind == "pt2":
        said = torch.export.load(out).module()(more).numpy()
    else:
        net = ConvNet(3, [4, 4], 3)
        net.load_state_dict(load_file(out))
        said = net.eval()(more).softmax(1).detach().numpy()
    assert np.abs(said - predictor.predict(more).numpy()).max() < 1e-5


def test_a_file_that_says_something_else_is_not_written(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        __import__("plt_nn.deployment.export", fromlist=["_WRITERS"])._WRITERS,
        "pt2",
        lambda net, example, path, *_: (path.write_text("x"), lambda x: predictor.predict(x) + 0.01)[1],
    )
    with pytest.raises(ExportError, match=r"differs from the original by up to 0.01"):
        export_model(predictor, "pt2", tmp_path / "m.pt2", example_inputs(predictor))
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_exported_says_why(predictor: Predictor, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="hold weights alone"):
        export_model(predictor, "safetensors", tmp_path / "m.safetensors", example_inputs(predictor), True)

    class Branching(ConvNet):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) if float(x.sum()) > 0 else -super().forward(x)

    branching = Predictor(Branching(3, [4], 3), predictor.card, {})
    with pytest.raises(ConfigError, match=r"Branching cannot be exported by torch.export"):
        export_model(branching, "pt2", tmp_path / "m.pt2", example_inputs(predictor))
    assert list(tmp_path.iterdir()) == []
