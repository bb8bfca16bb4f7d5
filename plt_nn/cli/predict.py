"""`plt-nn predict`: with `--model` what a model predicts for images or rows, with `--config` Lightning's verb."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from plt_nn.cli.options import add_model, add_reading, device_named, progress, require_target, workers_of
from plt_nn.errors import ConfigError
from plt_nn.text import counted
from plt_nn.tracking.store import store_at

if TYPE_CHECKING:
    from plt_nn.inference.inputs import TableInputs
    from plt_nn.inference.predictor import Predictor

_LISTED = 20  # images that could not be read
_OF_LIGHTNING = ("--config", "-c", "--data", "--trainer", "--ckpt_path", "--print_config", "--seed_everything")


def run(argv: list[str]) -> int:
    """Predicts, or hands the words on to Lightning's verb if they have a configuration.

    Returns:
        0; or 1 if no image could be read.

    Raises:
        ConfigError: If there is no such model or image, or if `--out` cannot be used.
    """
    if any(word.partition("=")[0].partition(".")[0] in _OF_LIGHTNING for word in argv[1:]):
        from plt_nn.cli.train import run as run_lightning

        return run_lightning(argv)
    arguments = _parser().parse_args(argv[1:])
    require_target("--out", arguments.out, (".csv", ".parquet", ".pq"), arguments.overwrite)
    from plt_nn.deployment.find_model import find_model
    from plt_nn.inference.inputs import ImageInputs, TableInputs
    from plt_nn.inference.predictor import load_predictor

    found = find_model(arguments.model, store_at(arguments.store))
    predictor = load_predictor(found.folder, device_named(arguments.device), arguments.trust)
    print(f"Model: {found.name}", file=sys.stderr)
    if isinstance(predictor.card.inputs, ImageInputs):
        return _predict_images(predictor, found.folder, arguments)
    if isinstance(predictor.card.inputs, TableInputs):
        return _predict_rows(predictor, predictor.card.inputs, arguments)
    raise ConfigError(
        f"{found.name} takes tensors of the shape {predictor.card.inputs.shape}, prepared as for its training; load it "
        "with mlflow.pyfunc.load_model and give it an array. Models of image folders and of tables predict from here."
    )


def _predict_images(predictor: "Predictor", folder: Path, arguments: argparse.Namespace) -> int:
    from plt_nn.deployment.paths import image_paths
    from plt_nn.deployment.predict import PredictedParts, about, predict_images

    size = arguments.batch_size
    paths = image_paths(arguments.paths, arguments.column)
    parts = PredictedParts(arguments.out, about(folder, paths, size))
    done = parts.done()
    if done:
        print(f"{done:,} of {len(paths):,} images are predicted already; continuing.", file=sys.stderr)
    with progress(len(paths)) as advance:
        advance(done)
        parts.add(predict_images(predictor, paths[done:], size, workers_of(arguments), advance))
    table = parts.finish()
    unreadable = table.loc[table["error"] != "", ["path", "error"]]
    for path, reason in unreadable.head(_LISTED).itertuples(index=False):
        print(f"  - {path}: {reason}", file=sys.stderr)
    if (more := len(unreadable) - _LISTED) > 0:
        print(f"  - and {more} more; the column `error` of {arguments.out} has them all", file=sys.stderr)
    but = f", of which {len(unreadable):,} could not be read (listed above)" if len(unreadable) else ""
    print(f"{arguments.out}: {counted(len(table), 'image')}{but}")
    return 1 if len(unreadable) == len(table) else 0


def _predict_rows(predictor: "Predictor", inputs: "TableInputs", arguments: argparse.Namespace) -> int:
    from plt_nn.data.tables import read_table
    from plt_nn.deployment.predict import write_table
    from plt_nn.inference.prediction_table import prediction_table

    if len(arguments.paths) != 1:
        raise ConfigError(f"The model takes the rows of one CSV or Parquet file; {len(arguments.paths)} were given.")
    table = read_table(Path(arguments.paths[0]))
    outputs = predictor.predict(inputs.batch(table))
    names = predictor.class_names if predictor.card.task == "classification" else None
    predicted = prediction_table(outputs, names)
    predicted.index = table.index
    write_table(table.join(predicted, rsuffix="_predicted"), arguments.out)
    print(f"{arguments.out}: {counted(len(predicted), 'row')}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="plt-nn predict",
        description="Write what a trained model predicts for images (or for the rows of a table). A call that was "
        "interrupted continues when it is repeated.",
        epilog="With --config instead of --model it is Lightning's verb: `plt-nn predict --config FILE.yaml --help`.",
    )
    add_model(parser)
    parser.add_argument(
        "paths", nargs="+", metavar="PATH", help="image files, folders, patterns, or a CSV or Parquet file with paths"
    )
    parser.add_argument("--out", type=Path, default=Path("predictions.csv"), help="a .csv or .parquet file")
    parser.add_argument("--overwrite", action="store_true", help="replace the file if it is there")
    parser.add_argument("--column", help="the column of paths in CSV files (default: path, file, image or filename)")
    add_reading(parser)
    return parser
