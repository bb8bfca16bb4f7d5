"""Writes what a net predicts to a CSV file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from lightning.pytorch.utilities import rank_zero_info


class PredictionTable(BasePredictionWriter):
    """Writes predictions to a CSV file, a row per sample in the order of their indices.

    A classifier's row has the sample's index, its predicted class and the probability of each class; a regressor's the
    index and the values. A data module that has `predict_paths` adds the sample's file. With several processes, process
    0 writes the rows of all.

    Args:
        path: The file.
    """

    def __init__(self, path: str = "predictions.csv") -> None:
        super().__init__(write_interval="epoch")
        self.path = Path(path)

    def write_on_epoch_end(
        self, trainer: Trainer, pl_module: LightningModule, predictions: Sequence[Any], batch_indices: Sequence[Any]
    ) -> None:
        """Gathers the predictions of all processes and writes them."""
        gathered: list[Any] = [list(predictions)]
        if trainer.world_size > 1:
            gathered = [None] * trainer.world_size
            torch.distributed.all_gather_object(gathered, list(predictions))
        if trainer.is_global_zero:
            data = getattr(trainer, "datamodule", None)
            names, paths = getattr(data, "class_names", None), getattr(data, "predict_paths", None)
            write_predictions([batch for share in gathered for batch in share], self.path, names, paths)
            rank_zero_info(f"Predictions: {self.path}")


def write_predictions(
    batches: Sequence[Mapping[str, Any]],
    path: Path,
    names: Sequence[str] | None = None,
    files: Sequence[Path] | None = None,
) -> None:
    """Writes batches of predictions as CSV.

    Args:
        batches: What `predict_step` returned: `probabilities` or `values` of shape `(N, C)`, and `index` of shape
            `(N,)`, or None where the loader gives no indices.
        path: The file to write.
        names: The names of the classes. Default: their numbers.
        files: The file of each index. Default: no column for it.
    """
    import pandas as pd

    kind = "probabilities" if "probabilities" in batches[0] else "values"
    outputs = torch.cat([batch[kind].float().cpu() for batch in batches])
    indices = [batch["index"] for batch in batches]
    known = [index.cpu() for index in indices if index is not None]
    order = torch.cat(known) if len(known) == len(indices) else torch.arange(len(outputs))
    columns = list(names or map(str, range(outputs.shape[1]))) if kind == "probabilities" else _value_names(outputs)
    table = pd.DataFrame(outputs.numpy(), columns=columns)
    if kind == "probabilities":
        table.insert(0, "predicted", [columns[int(number)] for number in outputs.argmax(1)])
    if files is not None:
        table.insert(0, "file", [str(files[number]) for number in order.tolist()])
    table.insert(0, "index", order.numpy())
    path.parent.mkdir(parents=True, exist_ok=True)
    table.sort_values("index").to_csv(path, index=False)


def _value_names(outputs: torch.Tensor) -> list[str]:
    return ["value"] if outputs.shape[1] == 1 else [f"value_{number}" for number in range(outputs.shape[1])]
