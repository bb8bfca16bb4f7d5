"""`plt-nn evaluate`: how well a model does on a folder of images."""

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from plt_nn.cli.options import add_format, add_model, add_reading, at_least, device_named, progress, workers_of
from plt_nn.errors import ConfigError
from plt_nn.text import counted, json_text
from plt_nn.text_table import TextTable
from plt_nn.tracking.store import store_at

if TYPE_CHECKING:
    from plt_nn.deployment.evaluate import Evaluation

_TITLES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "log_loss": "log loss",
    "ece": "expected calibration error",
}
_MOST_CLASSES, _MOST_WRONG, _CELLS = 50, 10, 20


def run(argv: list[str]) -> int:
    """Evaluates a model.

    Raises:
        ConfigError: If there is no such model, or if it is no classifier of images.
        DataError: If the folder's classes are not the model's.
    """
    arguments = _parser().parse_args(argv[1:])
    import pandas as pd

    from plt_nn.deployment.evaluate import as_plain, evaluate, find_labelled, training_warning, write_evaluation
    from plt_nn.deployment.find_model import find_model
    from plt_nn.deployment.predict import predict_images
    from plt_nn.inference.inputs import ImageInputs
    from plt_nn.inference.predictor import load_predictor

    found = find_model(arguments.model, store_at(arguments.store))
    predictor = load_predictor(found.folder, device_named(arguments.device), arguments.trust)
    if not isinstance(predictor.card.inputs, ImageInputs) or predictor.card.task != "classification":
        raise ConfigError(f"{found.name} does not classify images; `plt-nn evaluate` is for models that do.")
    folder = arguments.data.expanduser()
    data = find_labelled(folder, predictor.class_names, arguments.split, arguments.known_only)
    print(f"Model: {found.name}", file=sys.stderr)
    with progress(len(data.paths)) as advance:
        size, workers = arguments.batch_size, workers_of(arguments)
        table = pd.concat(predict_images(predictor, data.paths, size, workers, advance), ignore_index=True)
    evaluation = evaluate(table, data, predictor, arguments.resamples)
    for path, reason in table.loc[table["error"] != "", ["path", "error"]].itertuples(index=False):
        print(f"Left out, because it cannot be read: {path}: {reason}", file=sys.stderr)
    if warning := training_warning(evaluation.trained_on):
        print(f"Warning: {warning}", file=sys.stderr)
    if arguments.format == "json":
        print(json_text(as_plain(evaluation), indent=1))
    else:
        _show(evaluation)
    if arguments.out is not None:
        files = write_evaluation(evaluation, arguments.out, found.name)
        print(f"Written to {arguments.out}: {', '.join(each.name for each in files)}", file=sys.stderr)
    return 0


def _show(evaluation: "Evaluation") -> None:
    console = Console()
    data = evaluation.data
    rows = [
        [_TITLES[name], f"{value:.4f}", "" if math.isnan(low) else f"{low:.4f} to {high:.4f}"]
        for name, (value, low, high) in evaluation.metrics.items()
    ]
    title = f"{counted(len(data.paths), 'image')} in {data.folder}"
    tables = [TextTable(["metric", "value", "95 % interval"], rows, title, numeric=(1, 2)), _class_table(evaluation)]
    if len(names := evaluation.class_names) <= _CELLS:
        cells = [[name, *map(str, row)] for name, row in zip(names, evaluation.confusion.tolist(), strict=True)]
        caption = "Confusion (rows: true, columns: predicted)"
        tables.append(TextTable(["", *names], cells, caption, numeric=range(1, len(names) + 1)))
    for table in tables:
        console.print(table.as_rich())
    for kind, names in (("No images of", data.absent), ("Left out, because the model does not know", data.unknown)):
        if names:
            console.print(f"{kind}: {', '.join(names)}", markup=False)
    if len(evaluation.worst):
        console.print(f"The most wrong of {len(evaluation.worst)}:")
    for path, true, said, probability, _ in evaluation.worst.head(_MOST_WRONG).itertuples(index=False):
        console.print(f"  {true}, predicted {said} {probability:.3f}  {path}", markup=False, soft_wrap=True)


def _class_table(evaluation: "Evaluation") -> TextTable:
    """The scores of each class; of many classes those of the worst."""
    scores, some = evaluation.classes, ""
    if len(scores) > _MOST_CLASSES:
        some = f": the {_MOST_CLASSES} worst of {len(scores)}; --format json has all"
        scores = scores.sort_values("f1", kind="stable").head(_MOST_CLASSES)  # NaN comes last
    rows = []
    for name, *values, support in scores.itertuples():
        rows.append([name, f"{support:,.0f}", *("-" if math.isnan(value) else f"{value:.3f}" for value in values)])
    return TextTable(["class", "images", "precision", "recall", "F1"], rows, f"By class{some}", numeric=range(1, 5))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="plt-nn evaluate",
        description="Measure a model on a folder of images with a folder for each class, matched by name: metrics with "
        "bootstrap intervals, per class, confusion, calibration, the most wrong images.",
    )
    add_model(parser)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="the images, a folder per class")
    parser.add_argument(
        "--split", choices=("train", "val", "test"), help="of folders with such (default: test, or val)"
    )
    parser.add_argument("--known-only", action="store_true", help="leave out folders that are no class of the model")
    add_format(parser, "text", "json")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write figures, evaluation.json and predictions.csv")
    parser.add_argument("--resamples", type=at_least(0), default=1000, help="of the bootstrap (default: 1000; 0: none)")
    add_reading(parser)
    return parser
