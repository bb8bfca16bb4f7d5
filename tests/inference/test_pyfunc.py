"""What the loaded model takes, and what it refuses; served models are in tests/deployment."""

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from PIL import Image

from plt_nn.errors import WeightsError
from plt_nn.inference.predictor import load_predictor
from plt_nn.inference.pyfunc import ServedModel, load


def png(image: Image.Image) -> bytes:
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()


@pytest.fixture
def model(model_folder: Path) -> ServedModel:
    return load(str(model_folder))


def test_an_image_gets_the_same_answer_in_every_form(
    model: ServedModel, noise: Callable[[int], Image.Image], tmp_path: Path
) -> None:
    images = [noise(number) for number in range(3)]
    files = [tmp_path / f"{number}.png" for number in range(3)]
    for file, image in zip(files, images, strict=True):
        image.save(file)
    texts = [base64.b64encode(png(image)).decode() for image in images]
    expected = model.predict(pd.DataFrame({"image": images}))
    assert list(expected) == ["label", "score", "probability_ant", "probability_bee", "probability_fly"]
    probabilities = expected.filter(like="probability_")
    assert np.allclose(probabilities.sum(axis=1), 1)
    assert (expected["score"] == probabilities.max(axis=1)).all()
    assert (probabilities.idxmax(axis=1) == "probability_" + expected["label"]).all()
    forms: list[list[object]] = [
        [png(image) for image in images],
        list(texts),
        [f"data:image/png;base64,{text}" for text in texts],
        [text.encode() for text in texts],
        [str(file) for file in files],
        list(files),
        [np.asarray(image) for image in images],
    ]
    for form in forms:
        frame = pd.DataFrame({"image": pd.Series(form, dtype=object)})
        pd.testing.assert_frame_equal(model.predict(frame), expected)
        pd.testing.assert_frame_equal(model.predict(form), expected)
    as_mlflow_hands_it_on = {"image": np.array([text.encode() for text in texts])}
    pd.testing.assert_frame_equal(model.predict(as_mlflow_hands_it_on), expected)


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (b"", "image 1: the file is empty"),
        (b"words and words.", "image 1: not an image"),
        ("nowhere.jpg", "'nowhere.jpg' is neither a file that is there nor base64"),
        (3.0, "image 1 is a float; expected bytes"),
        (np.zeros((4, 4), dtype=np.float32), "array of float32 of the shape"),
        (png(Image.new("RGB", (64, 64)))[:60], "image 1: "),
    ],
)
def test_what_is_no_image_is_a_bad_request(
    item: object, reason: str, model: ServedModel, noise: Callable[[int], Image.Image]
) -> None:
    with pytest.raises(MlflowException, match=reason) as error:
        model.predict(pd.DataFrame({"image": pd.Series([noise(0), item], dtype=object)}))
    assert error.value.error_code == "INVALID_PARAMETER_VALUE"  # with which MLflow's server answers 400


def test_a_bomb_is_refused_before_it_is_decoded(model_folder: Path) -> None:
    big = png(Image.new("1", (10_000, 5_000)))
    with pytest.raises(MlflowException, match="10000 x 5000 pixels are more than the 40 million"):
        load(str(model_folder)).predict([big])
    assert len(load(str(model_folder), {"most_megapixels": 60}).predict([big])) == 1


def test_who_asks_a_server_gets_at_none_of_its_files(
    model: ServedModel, noise: Callable[[int], Image.Image], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise(0).save(tmp_path / "secret.png")
    monkeypatch.setenv("_MLFLOW_IS_IN_SERVING_ENVIRONMENT", "true")
    with pytest.raises(MlflowException, match="is not base64"):
        model.predict([str(tmp_path / "secret.png")])


def test_nothing_to_predict_is_a_bad_request(model: ServedModel) -> None:
    with pytest.raises(MlflowException, match="no rows"):
        model.predict(pd.DataFrame({"image": []}))
    with pytest.raises(MlflowException, match="The columns are a, b; expected one"):
        model.predict(pd.DataFrame({"a": [1], "b": [2]}))


def test_weights_of_another_net_are_refused(model_folder: Path) -> None:
    card = json.loads((model_folder / "model.json").read_text())
    card["net"]["init_args"]["out_features"] = 5
    (model_folder / "model.json").write_text(json.dumps(card))
    with pytest.raises(WeightsError, match="2 tensors do not match"):
        load_predictor(model_folder)
    (model_folder / "best.safetensors").write_bytes(b"\x80\x04.")  # a pickle
    with pytest.raises(WeightsError, match="cannot be read as safetensors"):
        load_predictor(model_folder)
