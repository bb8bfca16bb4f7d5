"""The folder of a model that stands alone, in MLflow's form: made of the weights and their card, without torch."""

import base64
import io
import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow.entities import LoggedModel
from mlflow.models import Model, ModelSignature
from mlflow.pyfunc import add_to_model
from mlflow.types import ColSpec, DataType, Schema, TensorSpec
from mlflow.utils.environment import _PythonEnv

from plt_nn.files import link_or_copy
from plt_nn.inference.model_files import CARD
from plt_nn.inference.vendored_code import LOADER, vendored_files

_EXAMPLE, _SERVED_EXAMPLE = "input_example.json", "serving_input_example.json"


def make_model_folder(folder: Path, weights: Path, card: str, model: LoggedModel, facts: Mapping[str, Any]) -> None:
    """Writes all files of a model.

    Args:
        folder: Where to; need not exist.
        weights: The file of weights, which gets a second name in the folder.
        card: The model card, as JSON.
        model: The model in MLflow that the files are for.
        facts: Metadata that MLflow shows of the model.
    """
    plain = json.loads(card)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    link_or_copy(weights, folder / weights.name)
    (folder / CARD).write_text(card, "utf-8")
    _write_code(folder / "code", plain["sources"])
    _write_environment(folder, plain["versions"])
    example = _example(plain)
    described = Model(
        run_id=model.source_run_id,
        model_id=model.model_id,
        artifact_path=model.artifact_location,
        signature=ModelSignature(inputs=_input_schema(plain["inputs"]), outputs=_output_schema(plain)),
        saved_input_example_info=_write_example(folder, example) if example is not None else None,
        metadata=dict(facts),
    )
    add: Any = add_to_model  # MLflow leaves it untyped
    add(described, LOADER, code="code", conda_env="conda.yaml", python_env="python_env.yaml")
    described.save(str(folder / "MLmodel"))


def _write_code(folder: Path, sources: Mapping[str, str]) -> None:
    for name, file in vendored_files():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    for name, text in sources.items():  # the user's own
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8")


def _write_environment(folder: Path, versions: Mapping[str, str]) -> None:
    packages = [name for name in versions if name not in ("python", "plt-nn")]
    lines = [f"{name}=={versions[name].partition('+')[0]}" for name in packages]
    (folder / "requirements.txt").write_text("\n".join(lines) + "\n")
    python = versions.get("python", ".".join(map(str, sys.version_info[:3])))
    python_env: Any = _PythonEnv  # untyped too
    python_env(python, [], ["-r requirements.txt"]).to_yaml(str(folder / "python_env.yaml"))
    conda = {"name": "mlflow-env", "channels": ["conda-forge"]}
    depends = [f"python={python}", "pip", {"pip": lines}]
    (folder / "conda.yaml").write_text(json.dumps(conda | {"dependencies": depends}, indent=1))  # JSON is YAML


def _input_schema(inputs: Mapping[str, Any]) -> Schema:
    if inputs["kind"] == "images":
        return Schema([ColSpec(DataType.binary, "image")])
    if inputs["kind"] == "table":
        numbers = [ColSpec(DataType.double, name) for name in inputs["means"]]
        return Schema([*numbers, *(ColSpec(DataType.string, name) for name in inputs["categories"])])
    import numpy as np

    return Schema([TensorSpec(np.dtype("float32"), (-1, *inputs["shape"]))])


def _output_schema(card: Mapping[str, Any]) -> Schema | None:
    if card["task"] != "classification" or card["class_names"] is None:
        return None  # as many values as the net has outputs
    names = ["score", *(f"probability_{name}" for name in card["class_names"])]
    return Schema([ColSpec(DataType.string, "label"), *(ColSpec(DataType.double, name) for name in names)])


def _example(card: Mapping[str, Any]) -> dict[str, Any] | None:
    """A table of one row that the model takes, in MLflow's form; none of the user's data."""
    inputs = card["inputs"]
    if inputs["kind"] == "images":
        return {"columns": ["image"], "data": [[base64.b64encode(_picture()).decode()]]}
    if inputs["kind"] == "table":
        first = {name: (values or [""])[0] for name, values in inputs["categories"].items()}
        row = inputs["means"] | first
        return {"columns": list(row), "data": [list(row.values())]}
    return None


def _picture() -> bytes:
    from PIL import Image

    content = io.BytesIO()
    Image.linear_gradient("L").resize((32, 32)).convert("RGB").save(content, "PNG")
    return content.getvalue()


def _write_example(folder: Path, example: dict[str, Any]) -> dict[str, str]:
    (folder / _EXAMPLE).write_text(json.dumps(example))
    (folder / _SERVED_EXAMPLE).write_text(json.dumps({"dataframe_split": example}, indent=1))
    return {
        "artifact_path": _EXAMPLE,
        "type": "dataframe",
        "pandas_orient": "split",
        "serving_input_path": _SERVED_EXAMPLE,
    }
