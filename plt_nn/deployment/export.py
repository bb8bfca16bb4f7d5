"""A model as a file that other programs run, checked against the original."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from plt_nn.deployment.preprocessing_net import PreprocessingNet
from plt_nn.errors import ConfigError, ExportError
from plt_nn.files import atomic_write
from plt_nn.inference.inputs import ImageInputs, TableInputs
from plt_nn.inference.model_files import CARD, WEIGHTS
from plt_nn.inference.predictor import Predictor, load_predictor
from plt_nn.text import first_line

Format = Literal["onnx", "pt2", "safetensors"]
ENDINGS: dict[str, str] = {"onnx": ".onnx", "pt2": ".pt2", "safetensors": ".safetensors"}
TOLERANCE = 1e-4  # of a probability or, relatively, of a value; other programs add in another order
SHADES = 1e-2  # the same where images are resized inside: there a shade of 256 may be rounded the other way
_OPSET = 18


class Parity(NamedTuple):
    """The largest difference of an output from the original, how many samples were compared, and in which batches."""

    difference: float
    samples: int
    batches: list[int]


def export_model(
    predictor: Predictor, kind: Format, out: Path, samples: Tensor, with_preprocessing: bool = False
) -> Parity:
    """Writes a model to a file, loads it again, and compares the outputs of both.

    Beside it `OUT.json` is written with what the file does not hold: the preprocessing and the names of the classes.

    Args:
        predictor: The model.
        kind: `onnx` (opset 18), `pt2` (`torch.export`), or `safetensors` (the net's weights alone).
        out: The file.
        samples: Samples to compare on, at least two: as the net takes them; with preprocessing uint8 `(N, H, W, 3)`.
        with_preprocessing: Whether the file takes RGB images of any size, uint8 `(N, H, W, 3)`, rather than tensors.

    Raises:
        ConfigError: If the net or its preprocessing cannot be exported.
        ExportError: If the outputs differ; the file is removed.
    """
    original = nn.Sequential(_preprocessing(predictor, kind), predictor) if with_preprocessing else predictor
    original.eval()
    with atomic_write(out) as partial:
        run = _WRITERS[kind](original, samples[:2], partial, predictor, with_preprocessing)
        parity = _compared(_reference(predictor, with_preprocessing), run, samples, SHADES if with_preprocessing else 0)
    _write_card(predictor, out, kind, with_preprocessing)
    return parity


def example_inputs(predictor: Predictor, count: int = 5) -> Tensor:
    """Random samples of the shape that the net takes, for a comparison without images."""
    inputs = predictor.card.inputs
    generator = torch.Generator().manual_seed(0)
    if isinstance(inputs, ImageInputs):
        size = inputs.preprocessing.size
        shape: tuple[int, ...] = (3, size, size) if isinstance(size, int) else (3, *size)
    elif isinstance(inputs, TableInputs):
        shape = (len(inputs.encoder.feature_names),)
    else:
        shape = inputs.shape
    return torch.randn(count, *shape, generator=generator)


Run = Callable[[Tensor], Tensor]


def _to_onnx(net: nn.Module, example: Tensor, path: Path, predictor: Predictor, raw: bool) -> Run:
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401  # which torch's exporter needs
    except ImportError as error:
        raise ConfigError(f"--format onnx needs more packages ({error.name}): pip install 'plt-nn[export]'") from error
    output = "probabilities" if predictor.card.task == "classification" else "values"
    program: Any = _traced(
        lambda: torch.onnx.export(
            net,
            (example,),
            dynamo=True,
            opset_version=_OPSET,
            input_names=["images" if raw else "x"],
            output_names=[output],
            dynamic_shapes=(_dynamic(raw),),
            verbose=False,
        ),
        predictor,
    )
    program.save(str(path))
    onnx.checker.check_model(str(path))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: torch.from_numpy(session.run(None, {name: x.numpy()})[0])


def _to_pt2(net: nn.Module, example: Tensor, path: Path, predictor: Predictor, raw: bool) -> Run:
    program: Any = _traced(lambda: torch.export.export(net, (example,), dynamic_shapes=(_dynamic(raw),)), predictor)
    torch.export.save(program, path)
    loaded = torch.export.load(path).module()
    return lambda x: loaded(x)


def _to_safetensors(net: nn.Module, example: Tensor, path: Path, predictor: Predictor, raw: bool) -> Run:
    state = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in predictor.net.state_dict().items()}
    save_file(state, path, {"format": "pt"})
    folder = path.with_name(f".check.{path.stem}")
    folder.mkdir(exist_ok=True)
    try:  # as anybody would load it: by the card, with the net's own names
        plain = json.loads(predictor.card.to_json()) | {"prefix": ""}
        (folder / CARD).write_text(json.dumps(plain))
        shutil.copyfile(path, folder / WEIGHTS)
        return load_predictor(folder, trusted=predictor.card.modules)
    finally:
        shutil.rmtree(folder)


_WRITERS: dict[str, Callable[[nn.Module, Tensor, Path, Predictor, bool], Run]] = {
    "onnx": _to_onnx,
    "pt2": _to_pt2,
    "safetensors": _to_safetensors,
}


def _dynamic(raw: bool) -> dict[int, Any]:
    axes = {0: "batch"} | ({1: "height", 2: "width"} if raw else {})
    return {axis: torch.export.Dim(name) for axis, name in axes.items()}


def _traced(export: Callable[[], Any], predictor: Predictor) -> Any:
    with torch.no_grad():
        try:
            return export()
        except Exception as error:
            reason = f"{type(error).__name__}: {first_line(error)}"
            raise ConfigError(f"{type(predictor.net).__name__} cannot be exported by torch.export: {reason}") from error


def _preprocessing(predictor: Predictor, kind: Format) -> nn.Module:
    inputs = predictor.card.inputs
    if not isinstance(inputs, ImageInputs):
        raise ConfigError("--with-preprocessing is for models of images.")
    if kind == "safetensors":
        raise ConfigError("--with-preprocessing does not go with safetensors, which hold weights alone.")
    return PreprocessingNet(inputs.preprocessing)


def _reference(predictor: Predictor, with_preprocessing: bool) -> Run:
    """The model as it predicts here, with Pillow's resizing."""
    inputs = predictor.card.inputs
    if not with_preprocessing or not isinstance(inputs, ImageInputs):
        return predictor.predict
    return lambda images: predictor.predict(inputs.batch([Image.fromarray(image.numpy()) for image in images]))


def _compared(reference: Run, run: Run, samples: Tensor, tolerance: float) -> Parity:
    tolerance = max(tolerance, TOLERANCE)
    batches = [samples, samples[:1]]
    with torch.inference_mode():
        pairs = [(reference(batch), run(batch)) for batch in batches]
    difference = max(float(((ours - theirs) / ours.abs().clamp_min(1)).abs().max()) for ours, theirs in pairs)
    if not difference <= tolerance:
        raise ExportError(
            f"The exported model differs from the original by up to {difference:.2g} on {len(samples)} samples; up to "
            f"{tolerance:g} would be rounding. Nothing was written."
        )
    return Parity(difference, len(samples), [len(batch) for batch in batches])


def _write_card(predictor: Predictor, out: Path, kind: Format, with_preprocessing: bool) -> None:
    card = json.loads(predictor.card.to_json())
    takes = "uint8 RGB images (N, H, W, 3)" if with_preprocessing else "float32, prepared as `inputs` says"
    plain = {"format": kind, "takes": takes, "gives": "logits" if kind == "safetensors" else "probabilities"}
    if predictor.card.task != "classification":
        plain["gives"] = "values"
    described = {name: card[name] for name in ("task", "class_names", "inputs", "net")}
    out.with_name(f"{out.name}.json").write_text(json.dumps(plain | described, indent=1))
