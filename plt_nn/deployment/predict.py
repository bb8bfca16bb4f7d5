"""Predicts many images: in batches, read by several processes, written in parts, so that a call can be continued."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from plt_nn.errors import ConfigError, DataError
from plt_nn.files import atomic_write
from plt_nn.inference.images import read_image
from plt_nn.inference.inputs import ImageInputs
from plt_nn.inference.model_files import CARD, WEIGHTS
from plt_nn.inference.prediction_table import prediction_columns, prediction_table
from plt_nn.inference.predictor import Predictor

_ROWS = 1024  # of a part, about: what is lost by an interruption
FEW = 64  # images for which it does not pay to start processes


class ReadImage(NamedTuple):
    """Whether an image could be read.

    Attributes:
        path: Its file.
        reason: Why it could not be read; empty if it could.
    """

    path: str
    reason: str = ""


class PredictedParts:
    """A table of predictions that grows in parts on disk, beside the file that it will be.

    Args:
        out: The file to be, `.csv` or `.parquet`.
        about: What identifies the predictions; parts that exist already must have the same.

    Raises:
        ConfigError: If there are parts of other predictions.
    """

    def __init__(self, out: Path, about: dict[str, Any]) -> None:
        self.out, self.folder = out, out.with_name(f"{out.name}.parts")
        manifest = self.folder / "about.json"
        if manifest.is_file() and json.loads(manifest.read_text()) != about:
            raise ConfigError(
                f"{self.folder} holds parts of other predictions: of another model, of other images, or in "
                "batches of another size. Remove it to start again, or choose another --out."
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        manifest.write_text(json.dumps(about))

    def done(self) -> int:
        """How many rows are written."""
        return sum(int(part.stem.split("-")[1]) for part in self._parts())

    def add(self, rows: pd.DataFrame) -> None:
        """Writes some more, whole or not at all."""
        name = f"{self.done():09d}-{len(rows)}.parquet"
        with atomic_write(self.folder / name) as partial:
            rows.to_parquet(partial, index=False)

    def finish(self) -> pd.DataFrame:
        """Makes the file of the parts, and removes them."""
        table = pd.concat([pd.read_parquet(part) for part in self._parts()], ignore_index=True)
        write_table(table, self.out)
        shutil.rmtree(self.folder)
        return table

    def _parts(self) -> list[Path]:
        return sorted(self.folder.glob("[0-9]*.parquet"))


def predict_images(
    predictor: Predictor,
    paths: Sequence[str],
    parts: PredictedParts,
    batch_size: int,
    workers: int,
    progress: Callable[[int], object] = lambda rows: None,
) -> tuple[pd.DataFrame, list[ReadImage]]:
    """Predicts what is not predicted yet, and makes the file.

    Args:
        predictor: The model.
        paths: The images.
        parts: Where the rows go.
        batch_size: Images at once.
        workers: Processes that read images; 0 reads in this one.
        progress: Called with the number of new rows.

    Returns:
        The whole table, in the order of the paths: `path`, `label`, `score`, `probability_CLASS`, `error`; and the
        images that could not be read, whose rows are empty but for `error`.
    """
    begin = parts.done()
    progress(begin)
    rows: list[pd.DataFrame] = []
    for batch, read in _batches(predictor, paths[begin:], batch_size, workers):
        rows.append(_rows(predictor, batch, read))
        progress(len(read))
        if sum(map(len, rows)) >= _ROWS:
            parts.add(pd.concat(rows, ignore_index=True))
            rows = []
    if rows:
        parts.add(pd.concat(rows, ignore_index=True))
    table = parts.finish()
    wrong = table[table["error"] != ""]
    return table, [
        ReadImage(str(path), str(reason)) for path, reason in zip(wrong["path"], wrong["error"], strict=True)
    ]


def about(predictor_folder: Path, paths: Sequence[str], batch_size: int) -> dict[str, Any]:
    """What identifies the predictions: the model, the images and the size of the batches."""
    digest = hashlib.sha256((predictor_folder / CARD).read_bytes())
    with (predictor_folder / WEIGHTS).open("rb") as file:
        weights = hashlib.file_digest(file, "sha256").hexdigest()
    listed = hashlib.sha256("\n".join(f"{path}\0{_stamp(path)}" for path in paths).encode("utf-8", "surrogateescape"))
    facts = {"card": digest.hexdigest(), "weights": weights, "images": listed.hexdigest()}
    return facts | {"count": len(paths), "batch_size": batch_size}


def write_table(table: pd.DataFrame, out: Path) -> None:
    """Writes a table as CSV or Parquet, as the name says; whole or not at all."""
    with atomic_write(out) as partial:
        if out.suffix.lower() in (".parquet", ".pq"):
            table.to_parquet(partial, index=False)
        else:
            table.to_csv(partial, index=False)


def _batches(
    predictor: Predictor, paths: Sequence[str], batch_size: int, workers: int
) -> Iterator[tuple[Tensor | None, list[ReadImage]]]:
    inputs = predictor.card.inputs
    assert isinstance(inputs, ImageInputs)
    loader: DataLoader[Any] = DataLoader(
        _Files(paths, inputs),
        batch_size=batch_size,
        num_workers=workers if len(paths) > FEW else 0,
        collate_fn=_collated,
        pin_memory=torch.cuda.is_available(),
    )
    yield from loader


class _Files(Dataset[Any]):
    def __init__(self, paths: Sequence[str], inputs: ImageInputs) -> None:
        self.paths, self.inputs = paths, inputs
        self._transform = inputs.preprocessing.evaluation_transform()

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor | None, ReadImage]:
        path = self.paths[index]
        try:
            return self._transform(read_image(Path(path))), ReadImage(path)
        except DataError as error:
            return None, ReadImage(path, str(error).removeprefix(f"{path}: "))


def _collated(items: list[tuple[Tensor | None, ReadImage]]) -> tuple[Tensor | None, list[ReadImage]]:
    tensors = [tensor for tensor, _ in items if tensor is not None]
    return torch.stack(tensors) if tensors else None, [image for _, image in items]


def _rows(predictor: Predictor, batch: Tensor | None, read: list[ReadImage]) -> pd.DataFrame:
    names = predictor.class_names if predictor.card.task == "classification" else None
    outputs = predictor.predict(batch) if batch is not None else torch.empty(0, len(names) if names else 1)
    predicted = prediction_table(outputs, names)
    if batch is None and names is None:
        predicted = predicted.reindex(columns=prediction_columns(None, 1))
    at = [place for place, each in enumerate(read) if not each.reason]
    predicted.index = pd.Index(at)
    rows = predicted.reindex(range(len(read)))
    rows.insert(0, "path", [each.path for each in read])
    rows["error"] = [each.reason for each in read]
    return rows


def _stamp(path: str) -> str:
    try:
        found = Path(path).stat()
    except OSError:
        return "missing"
    return f"{found.st_size} {found.st_mtime_ns}"
