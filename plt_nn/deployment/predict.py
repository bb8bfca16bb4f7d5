"""Predicts many images: in batches, read by several processes, written in parts, so that a call can be continued."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from plt_nn.errors import ConfigError, DataError
from plt_nn.files import atomic_write
from plt_nn.inference.images import read_image
from plt_nn.inference.inputs import ImageInputs
from plt_nn.inference.model_files import CARD, WEIGHTS
from plt_nn.inference.prediction_table import prediction_table
from plt_nn.inference.predictor import Predictor

_ROWS = 1024  # of a part, about: what is lost by an interruption
FEW = 64  # images for which it does not pay to start processes


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

    def add(self, tables: Iterable[pd.DataFrame]) -> None:
        """Stores further rows, about `_ROWS` in a part; each part is written whole or not at all."""
        waiting: list[pd.DataFrame] = []
        for table in tables:
            waiting.append(table)
            if sum(map(len, waiting)) >= _ROWS:
                self._write(waiting)
                waiting = []
        if waiting:
            self._write(waiting)

    def finish(self) -> pd.DataFrame:
        """Makes the file of the parts, and removes them."""
        table = pd.concat([pd.read_parquet(part) for part in self._parts()], ignore_index=True)
        write_table(table, self.out)
        shutil.rmtree(self.folder)
        return table

    def _write(self, tables: list[pd.DataFrame]) -> None:
        rows = pd.concat(tables, ignore_index=True)
        with atomic_write(self.folder / f"{self.done():09d}-{len(rows)}.parquet") as partial:
            rows.to_parquet(partial, index=False)

    def _parts(self) -> list[Path]:
        return sorted(self.folder.glob("[0-9]*.parquet"))


def predict_images(
    predictor: Predictor, paths: Sequence[str], batch_size: int, workers: int, progress: Callable[[int], object]
) -> Iterator[pd.DataFrame]:
    """The predictions for images, a table for each batch, in the order of the paths.

    The columns are `path`, `label`, `score`, `probability_CLASS` and `error`; the rows of images that could not be read
    are empty but for `path` and `error`.

    Args:
        predictor: The model.
        paths: The images.
        batch_size: Images at once.
        workers: Processes that read images; 0 reads in this one.
        progress: Called with the number of rows in each table.
    """
    assert isinstance(predictor.card.inputs, ImageInputs)
    loader: DataLoader[Any] = DataLoader(
        _Files(paths, predictor.card.inputs),
        batch_size=batch_size,
        num_workers=workers if len(paths) > FEW else 0,
        collate_fn=_collated,
        pin_memory=torch.cuda.is_available(),
    )
    for batch in loader:
        rows = _rows(predictor, *batch)
        progress(len(rows))
        yield rows


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


_Item = tuple[Tensor | None, str, str]  # an image, its path, and why it could not be read


class _Files(Dataset[Any]):
    def __init__(self, paths: Sequence[str], inputs: ImageInputs) -> None:
        self.paths = paths
        self._transform = inputs.preprocessing.evaluation_transform()

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> _Item:
        path = self.paths[index]
        try:
            return self._transform(read_image(Path(path))), path, ""
        except DataError as error:
            return None, path, str(error).removeprefix(f"{path}: ")


def _collated(items: list[_Item]) -> tuple[Tensor | None, list[str], list[str]]:
    images = [image for image, _, _ in items if image is not None]
    return torch.stack(images) if images else None, [path for _, path, _ in items], [reason for _, _, reason in items]


def _rows(predictor: Predictor, batch: Tensor | None, paths: list[str], reasons: list[str]) -> pd.DataFrame:
    names = predictor.class_names if predictor.card.task == "classification" else None
    outputs = predictor.predict(batch) if batch is not None else torch.empty(0, len(names) if names else 1)
    predicted = prediction_table(outputs, names)
    predicted.index = pd.Index([place for place, reason in enumerate(reasons) if not reason])
    rows = predicted.reindex(range(len(paths)))
    rows.insert(0, "path", paths)
    rows["error"] = reasons
    return rows


def _stamp(path: str) -> str:
    try:
        found = Path(path).stat()
    except OSError:
        return "missing"
    return f"{found.st_size} {found.st_mtime_ns}"
