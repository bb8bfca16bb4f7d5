"""`plt-nn export`: writes a model for other programs, and checks that its outputs are the same there."""

import argparse
import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from plt_nn.cli.options import add_model, require_target
from plt_nn.errors import ConfigError
from plt_nn.text import byte_size
from plt_nn.tracking.store import store_at

if TYPE_CHECKING:
    from torch import Tensor

    from plt_nn.inference.predictor import Predictor

_MOST = 8  # images that are compared


def run(argv: list[str]) -> int:
    """Exports a model.

    Raises:
        ConfigError: If there is no such model, if it cannot be exported, or if `--out` cannot be used.
        ExportError: If the outputs of the exported file differ from those of the original.
    """
    arguments = _parser().parse_args(argv[1:])
    from plt_nn.deployment.export import ENDINGS, export_model
    from plt_nn.deployment.find_model import find_model
    from plt_nn.inference.predictor import load_predictor

    out = arguments.out or Path(f"model{ENDINGS[arguments.format]}")
    require_target("--out", out, (ENDINGS[arguments.format],), arguments.overwrite)
    found = find_model(arguments.model, store_at(arguments.store))
    predictor = load_predictor(found.folder, "cpu", arguments.trust)
    samples, what = _samples(predictor, arguments.samples, arguments.with_preprocessing)
    _silence_exporters()
    parity = export_model(predictor, arguments.format, out, samples, arguments.with_preprocessing)
    print(f"{out} ({byte_size(out.stat().st_size)}), and {out.name}.json, which describes it")
    batches = " and ".join(map(str, parity.batches))
    print(f"Parity with the original on {parity.samples} {what}, in batches of {batches}: {parity.difference:.1e}")
    return 0


def _samples(predictor: "Predictor", words: list[str], raw: bool) -> "tuple[Tensor, str]":
    """The samples to compare on: images that were named, or else random numbers."""
    import numpy as np
    import torch

    from plt_nn.deployment.export import example_inputs
    from plt_nn.deployment.paths import image_paths
    from plt_nn.inference.images import read_image
    from plt_nn.inference.inputs import ImageInputs

    if not words and raw:
        pixels = np.random.default_rng(0).integers(0, 256, (4, 190, 250, 3), dtype=np.uint8)
        return torch.from_numpy(pixels), "random images"
    if not words:
        return example_inputs(predictor), "random samples"
    inputs = predictor.card.inputs
    if not isinstance(inputs, ImageInputs):
        raise ConfigError("--samples is for models of images.")
    images = [read_image(Path(path)) for path in image_paths(words)[:_MOST]]
    images = images * 2 if len(images) == 1 else images
    if not raw:
        return inputs.batch(images), "images"
    alike = [image.resize(images[0].size) for image in images]  # a batch is of one size
    return torch.stack([torch.from_numpy(np.array(image)) for image in alike]), "images"


def _silence_exporters() -> None:
    """Silences warnings of the exporters about their own code."""
    for name in ("torch.onnx", "onnxscript", "onnx_ir", "torch.export"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.filterwarnings("ignore", category=UserWarning, module="torch")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="plt-nn export",
        description="Write a model as ONNX, torch.export's pt2, or plain weights, with batches of any size; load what "
        "was written and compare it with the original. Classifiers give probabilities (safetensors: weights alone).",
    )
    add_model(parser)
    parser.add_argument("--format", choices=("onnx", "pt2", "safetensors"), default="onnx", help="default: onnx")
    parser.add_argument("--out", type=Path, help="the file (default: model.onnx and so on)")
    parser.add_argument("--overwrite", action="store_true", help="replace the file if it is there")
    parser.add_argument(
        "--with-preprocessing",
        action="store_true",
        help="take uint8 RGB images (N, H, W, 3) of any size; resize inside",
    )
    parser.add_argument(
        "--samples", nargs="+", default=[], metavar="PATH", help="images to compare on (default: random)"
    )
    return parser
