"""Evaluates a model on a folder of images, one folder for each class."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from plt_nn.data.class_folders import SPLIT_NAMES, labelled_images, subfolders
from plt_nn.data.hashes import Overlap, as_array, overlap
from plt_nn.data.image_check import file_hashes
from plt_nn.deployment.class_metrics import ConfidenceInterval, class_scores, count_classes, measure
from plt_nn.errors import DataError, PltNNError, did_you_mean, refuse
from plt_nn.inference.images import read_image
from plt_nn.inference.predictor import Predictor
from plt_nn.plots.figures import WrongSample, calibration_figure, confusion_figure, most_wrong_figure
from plt_nn.text import and_more, json_text

_SHOWN = 16  # of the most wrong images
_SIDE = 160  # of their pictures, in pixels


class LabelledFolder(NamedTuple):
    """Images with their classes, in the order of the model's classes.

    Attributes:
        folder: Where they lie.
        paths: The images.
        y: Their classes as the model counts them.
        absent: Classes of the model of which there is no image.
        unknown: Folders that are no class of the model, which are left out.
    """

    folder: Path
    paths: list[str]
    y: NDArray[np.int64]
    absent: list[str]
    unknown: list[str]


class Evaluation(NamedTuple):
    """The results of a model on some images.

    Attributes:
        data: The images, without those that could not be read.
        class_names: The model's classes.
        probabilities: float `(N, C)`.
        metrics: By name.
        classes: The scores of each class, as `class_scores` gives them.
        confusion: `(C, C)`.
        worst: The samples that are wrong, the worst first: `path`, `true` and `said` (classes), `probability` (of what
            was said), `probability_of_true`.
        trained_on: Which of the images the model was trained on; None if that is not known.
    """

    data: LabelledFolder
    class_names: list[str]
    probabilities: NDArray[np.float64]
    metrics: dict[str, ConfidenceInterval]
    classes: pd.DataFrame
    confusion: NDArray[np.int64]
    worst: pd.DataFrame
    trained_on: Overlap | None


def find_labelled(root: Path, class_names: Sequence[str], split: str | None, known_only: bool) -> LabelledFolder:
    """The images of a folder, labelled by the names of their folders.

    Args:
        root: A folder with a folder for each class, or with `val/` or `test/` that have them.
        class_names: The model's classes; the folders are matched by name, in whatever order.
        split: `train`, `val` or `test`. Default: `test`, else `val`, else the folder itself.
        known_only: Whether folders that are no class of the model are left out, rather than refused.

    Raises:
        DataError: If there are no images, or folders that are no class of the model.
    """
    folder = _split_folder(root, split)
    names = [each.name for each in subfolders(folder)]
    unknown = [name for name in names if name not in class_names]
    if unknown and (not known_only or len(unknown) == len(names)):
        faults = [f"{name!r} is no class of the model.{did_you_mean(name, class_names)}" for name in unknown]
        classes = f"a model of the classes {and_more(class_names, 12)}"
        refuse(f"{folder}, with {classes} (--known-only leaves other folders out),", faults, DataError)
    codes = {name: code for code, name in enumerate(class_names)}
    samples = labelled_images(folder, {name: codes[name] for name in names if name in codes})
    if not samples:
        raise DataError(
            f"{folder} has no images in folders named like the classes of the model: {and_more(class_names, 12)}."
        )
    y = np.array([code for _, code in samples], dtype=np.int64)
    absent = [name for name, code in codes.items() if code not in set(y.tolist())]
    return LabelledFolder(folder, [str(path) for path, _ in samples], y, absent, unknown)


def evaluate(table: pd.DataFrame, data: LabelledFolder, predictor: Predictor, resamples: int) -> Evaluation:
    """The evaluation of a table that `predict_images` has given for `data.paths`; `resamples` as for `measure`.

    Raises:
        DataError: If none of the images could be read.
    """
    good = (table["error"] == "").to_numpy()
    if not good.any():
        raise DataError(f"None of the {len(table)} images in {data.folder} can be read.")
    paths = [path for path, is_good in zip(data.paths, good, strict=True) if is_good]
    read = data._replace(paths=paths, y=data.y[good])
    class_names = predictor.class_names
    columns = [f"probability_{name}" for name in class_names]
    probabilities = table.loc[good, columns].to_numpy(dtype=np.float64)
    confusion = count_classes(probabilities, read.y).confusion.numpy()
    metrics = measure(probabilities, read.y, resamples)
    names, at, said = np.array(class_names), np.arange(len(paths)), probabilities.argmax(1)
    samples = pd.DataFrame({"path": paths, "true": names[read.y], "said": names[said]})
    samples["probability"], samples["probability_of_true"] = probabilities[at, said], probabilities[at, read.y]
    worst = samples[said != read.y].sort_values("probability_of_true", kind="stable")
    scores, known = class_scores(confusion, class_names), _trained_on(paths, predictor.card.trained_on)
    return Evaluation(read, class_names, probabilities, metrics, scores, confusion, worst, known)


def training_warning(overlap: Overlap | None) -> str | None:
    """A sentence about images that the model was trained on; None if there are none, or that is not known."""
    if overlap is None or overlap.found == 0:
        return None
    found, looked_up, samples = overlap
    if looked_up == samples:
        many = f"All {samples:,}" if found == samples else f"{found:,} of the {samples:,}"
    else:
        many = f"About {found / looked_up:.0%} ({found:,} of {looked_up:,} that were looked up) of the {samples:,}"
    return f"{many} images were trained on, so these results are partly memory: use others."


def as_plain(evaluation: Evaluation) -> dict[str, Any]:
    """The evaluation as plain values; what is not defined is NaN."""
    data, overlap = evaluation.data, evaluation.trained_on
    return {
        "data": str(data.folder),
        "samples": len(data.paths),
        "trained_on": overlap._asdict() if overlap is not None else None,
        "metrics": {name: each._asdict() for name, each in evaluation.metrics.items()},
        "per_class": evaluation.classes.to_dict("index"),
        "confusion": evaluation.confusion.tolist(),
        "classes_without_images": data.absent,
        "folders_left_out": data.unknown,
        "most_wrong": evaluation.worst.head(100).to_dict("records"),
    }


def write_evaluation(evaluation: Evaluation, out: Path, title: str) -> list[Path]:
    """Writes `evaluation.json`, `predictions.csv` and figures, whose title names the model, into a folder it makes."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "evaluation.json").write_text(json_text(as_plain(evaluation), indent=1))
    names = [evaluation.class_names[code] for code in evaluation.data.y]
    table = pd.DataFrame(evaluation.probabilities, columns=[f"probability_{name}" for name in evaluation.class_names])
    table.insert(0, "path", evaluation.data.paths)
    table.insert(1, "true", names)
    table.to_csv(out / "predictions.csv", index=False)
    subtitle = f"{title}, {evaluation.data.folder}"
    figures = {"confusion_matrix": confusion_figure(evaluation.confusion, evaluation.class_names, subtitle)}
    counts = count_classes(evaluation.probabilities, evaluation.data.y)
    figures["calibration"] = calibration_figure(counts.bins.numpy(), subtitle)
    if pictures := _pictures(evaluation):
        figures["most_wrong"] = most_wrong_figure(pictures, subtitle)
    for name, figure in figures.items():
        figure.savefig(out / f"{name}.png")
    return sorted(out.iterdir())


def _pictures(evaluation: Evaluation) -> list[WrongSample]:
    pictures = []
    for path, true, said, probability, _ in evaluation.worst.head(_SHOWN).itertuples(index=False):
        try:
            image = read_image(Path(path))
        except PltNNError:  # gone since it was predicted
            continue
        image.thumbnail((_SIDE, _SIDE))
        pictures.append(WrongSample(np.asarray(image), true, said, probability, Path(path).name))
    return pictures


def _split_folder(root: Path, split: str | None) -> Path:
    if not root.is_dir():
        near = did_you_mean(root.name, [each.name for each in subfolders(root.absolute().parent)])
        raise DataError(f"There is no folder {root}.{near}")
    inside = {SPLIT_NAMES[each.name.lower()]: each for each in subfolders(root) if each.name.lower() in SPLIT_NAMES}
    inside = {name: folder for name, folder in inside.items() if subfolders(folder)}
    if split is not None:
        if split not in inside:
            raise DataError(f"{root} has no folder for {split!r} with a folder for each class in it.")
        return inside[split]
    return inside.get("test") or inside.get("val") or root


def _trained_on(paths: Sequence[str], sketch: str) -> Overlap | None:
    """Which of some images a model was trained on, by the bytes of their files; None if that is not known."""
    if not sketch:
        return None
    try:
        return overlap(as_array(list(file_hashes([Path(path) for path in paths]).values())), sketch)
    except ValueError:  # of a later version
        return None
