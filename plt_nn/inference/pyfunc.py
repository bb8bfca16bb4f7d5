"""A model as MLflow loads and serves it (`mlflow.pyfunc`)."""

import base64
import binascii
import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor, cat

from plt_nn.errors import DataError, PltNNError
from plt_nn.inference.card import read_card
from plt_nn.inference.images import as_rgb, decode_image, read_image
from plt_nn.inference.inputs import ImageInputs, TableInputs
from plt_nn.inference.prediction_table import prediction_table
from plt_nn.inference.predictor import Predictor, load_predictor

MOST_MEGAPIXELS = 40  # of an image that comes as bytes; MLflow's `model_config` changes it
AT_ONCE = 32  # samples
_BASE64 = re.compile(rb"(?:data:[\w/+.-]+;base64,)?[A-Za-z0-9+/\s]+={0,2}\s*")


def load(path: str, model_config: Mapping[str, Any] | None = None) -> "ServedModel":
    """What MLflow loads.

    Args:
        path: The model's folder.
        model_config: `device` (default `cpu`) and `most_megapixels`.
    """
    config = model_config or {}
    folder = Path(path)
    trusted = read_card(folder).modules  # their code is beside the weights: whoever loads a model by MLflow runs it
    predictor = load_predictor(folder, str(config.get("device", "cpu")), trusted)
    return ServedModel(predictor, float(config.get("most_megapixels", MOST_MEGAPIXELS)))


class ServedModel:
    """Predicts tables for tables.

    Args:
        predictor: The model.
        most_megapixels: Larger images are refused before they are decoded, if they come as bytes.
    """

    def __init__(self, predictor: Predictor, most_megapixels: float) -> None:
        self.predictor = predictor
        self._most_pixels = round(most_megapixels * 1e6)

    def predict(self, data: Any, params: Mapping[str, Any] | None = None) -> Any:
        """A row of predictions for each row of `data`.

        Args:
            data: Of images a column of bytes, base64 texts, file paths, PIL images or uint8 arrays `(H, W, C)`; of
                tables the columns of training; else an array `(N, ...)`. A server takes no paths.
            params: Not used.

        Raises:
            MlflowException: With MLflow's code for a bad request, for whatever cannot be predicted.
        """
        from mlflow.exceptions import MlflowException
        from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

        try:
            return self._predictions(data)
        except PltNNError as error:
            raise MlflowException(str(error), error_code=INVALID_PARAMETER_VALUE) from error

    def _predictions(self, data: Any) -> Any:
        inputs = self.predictor.card.inputs
        names = self.predictor.class_names if self.predictor.card.task == "classification" else None
        if isinstance(inputs, ImageInputs):
            batches = self._images(inputs, _column(data))
        elif isinstance(inputs, TableInputs):
            batches = iter([inputs.batch(_table(data))])
        else:
            batches = iter([inputs.batch(_array(data))])
        outputs = [self.predictor.predict(batch) for batch in batches]
        if sum(map(len, outputs)) == 0:
            raise DataError("There is nothing to predict: no rows.")
        return prediction_table(cat(outputs), names)

    def _images(self, inputs: ImageInputs, items: list[Any]) -> Iterator[Tensor]:
        for at in range(0, len(items), AT_ONCE):
            yield inputs.batch([self._image(item, at + n) for n, item in enumerate(items[at : at + AT_ONCE])])

    def _image(self, item: Any, number: int) -> Image.Image:
        name = f"image {number}"
        if isinstance(item, Image.Image):
            return as_rgb(item)
        if isinstance(item, np.ndarray):
            return _image_of_array(item, name)
        if isinstance(item, bytes | bytearray | memoryview):
            return self._image_of_bytes(bytes(item), name)
        if isinstance(item, os.PathLike | str):
            if not _is_serving() and os.path.isfile(item):  # noqa: PTH113 -- False for what is too long for a path
                return read_image(Path(item))
            return decode_image(_bytes_of_text(str(item), name), name, self._most_pixels)
        raise DataError(
            f"{name} is a {type(item).__name__}; expected bytes, base64 text, a path, a PIL image or a uint8 array."
        )

    def _image_of_bytes(self, content: bytes, name: str) -> Image.Image:
        """An image of its bytes, or of its bytes as base64, as which MLflow's `inputs` and `instances` come."""
        if _BASE64.fullmatch(content) and not content.startswith(b"P"):  # as an image in plain text does (PPM)
            with contextlib.suppress(DataError):
                content = _bytes_of_text(content.decode(), name)
        return decode_image(content, name, self._most_pixels)


def _column(data: Any) -> list[Any]:
    """The images in whatever they came in."""
    columns = getattr(data, "columns", None)
    if columns is not None:
        if len(columns) != 1 and "image" not in columns:
            raise DataError(f"The columns are {', '.join(map(str, columns))}; expected one, `image`.")
        return list(data["image"] if "image" in columns else data.iloc[:, 0])
    if isinstance(data, np.ndarray) and data.dtype == np.uint8 and data.ndim in (2, 3):
        return [data]
    if isinstance(data, Mapping):
        if len(data) != 1:
            raise DataError(f"The fields are {', '.join(map(str, data))}; expected one, `image`.")
        return _column(next(iter(data.values())))
    if isinstance(data, str | bytes | os.PathLike | Image.Image):
        return [data]
    if not isinstance(data, Iterable):
        raise DataError(f"The input is a {type(data).__name__}; expected a table with a column `image`.")
    return [
        each.item() if isinstance(each, np.ndarray) and each.dtype == object and each.size == 1 else each
        for each in data
    ]


def _table(data: Any) -> Any:
    import pandas as pd

    try:
        return data if isinstance(data, pd.DataFrame) else pd.DataFrame(data)
    except (TypeError, ValueError) as error:
        raise DataError(f"The input is a {type(data).__name__}; expected a table: {error}") from error


def _array(data: Any) -> Any:
    if hasattr(data, "to_numpy"):
        data = data.to_numpy()
    elif isinstance(data, Mapping) and len(data) == 1:
        data = next(iter(data.values()))
    return data


def _image_of_array(array: np.ndarray[Any, Any], name: str) -> Image.Image:
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise DataError(
            f"{name} is an array of {array.dtype} of the shape {array.shape}; expected uint8 (H, W), (H, W, 3) or "
            "(H, W, 4)."
        )
    return as_rgb(Image.fromarray(array.squeeze(2) if array.ndim == 3 and array.shape[2] == 1 else array))


def _bytes_of_text(text: str, name: str) -> bytes:
    begin, comma, rest = text.partition(",")
    encoded = rest if comma and begin.startswith("data:") else text
    try:
        return base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        shown = text if len(text) <= 80 else f"{text[:79]}…"
        kinds = "base64" if _is_serving() else "a file that is there nor base64"
        raise DataError(f"{name}: the text {shown!r} is {'not' if _is_serving() else 'neither'} {kinds}.") from error


def _is_serving() -> bool:
    """Whether this is MLflow's scoring server: its clients may not read files of this machine."""
    return os.environ.get("_MLFLOW_IS_IN_SERVING_ENVIRONMENT", "").lower() == "true"
