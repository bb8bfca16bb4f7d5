"""A table from a CSV or Parquet file."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from plt_nn.data.splits import check_fractions, size_faults, stratified_split
from plt_nn.data.tensors import ROWS_AT_ONCE, TensorData, TensorSplit
from plt_nn.errors import DataError, refuse
from plt_nn.inference.inputs import TableInputs

if TYPE_CHECKING:
    import pandas as pd

    from plt_nn.inference.table_encoding import TableEncoder


class TabularData(TensorData):
    """Rows of a table as vectors, to predict one column from others.

    Numeric columns are standardised and categorical ones encoded as one-hot, by the training rows alone.

    Args:
        path: A CSV file (with a header; may be compressed) or a Parquet file.
        target: The column to predict.
        task: `classification`: the target's distinct values are the classes, sorted; y is int64 `(N,)`.
            `regression`: y is the target, float32 `(N, 1)`.
        numeric: The columns with numbers; default all that are neither the target nor categorical.
        categorical: The columns with categories; default none.
        val_fraction: Share of the rows held out for validation, for classification of each class; default 0.2.
        test_fraction: Share held out for testing; default 0.
        missing: How missing values of features are treated. `error` stops; `mean` replaces them by a numeric column's
            training mean, or by no category.
        batch_size: Rows per process and step; default 32.
        split_seed: Seed of the split; default 0.

    Raises:
        ConfigError: A fraction is out of range.
        DataError: At `setup`: the table cannot be trained on; the text lists all faults.
    """

    def __init__(
        self,
        path: str | Path,
        target: str,
        task: Literal["classification", "regression"] = "classification",
        numeric: list[str] | None = None,
        categorical: list[str] | None = None,
        val_fraction: float = 0.2,
        test_fraction: float = 0.0,
        missing: Literal["error", "mean"] = "error",
        batch_size: int = 32,
        split_seed: int = 0,
    ) -> None:
        super().__init__(batch_size, {"val": val_fraction, "test": test_fraction}, ROWS_AT_ONCE)
        check_fractions(self.fractions)
        self.path = Path(path).expanduser()
        self.name = self.path.stem
        self.source = str(self.path.absolute())
        self.target = target
        self.task = task
        self.numeric = numeric
        self.categorical = categorical
        self.missing = missing
        self.split_seed = split_seed
        self.encoder: TableEncoder | None = None

    def setup(self, stage: str | None = None) -> None:
        """Read, check, split and encode the table, once."""
        if self.splits:
            return
        from plt_nn.data.tables import choose_columns, read_table, table_faults
        from plt_nn.inference.table_encoding import fit_encoder

        frame = read_table(self.path)
        columns = choose_columns(frame, self.target, self.numeric, self.categorical)
        subject = f"The table {self.path}"
        refuse(subject, table_faults(frame, columns, self.task, self.missing), DataError)
        y, strata, self.class_names = _targets(frame[self.target], self.task)
        refuse(subject, size_faults(self.class_names or ["any"], strata, self.fractions), DataError)
        chosen = stratified_split(strata, self.fractions, self.split_seed)
        rows = {name: frame.iloc[indices.numpy()] for name, indices in chosen.items()}
        self.encoder = fit_encoder(rows["train"], columns.numeric, columns.categorical)
        self.splits = {name: TensorSplit(self.encoder.encode(rows[name]), y[chosen[name]]) for name in chosen}

    @property
    def feature_names(self) -> list[str]:
        """The name of each element of an input: `column`, or `column=value` for a category."""
        return [] if self.encoder is None else self.encoder.feature_names

    @property
    def num_features(self) -> int:
        """Length of an input."""
        return len(self.feature_names)

    def describe(self) -> dict[str, str | int | float]:
        """Plain facts for the record of a run."""
        facts: dict[str, str | int | float] = {"path": str(self.path), "target": self.target}
        if self.class_names is not None:
            facts["classes"] = len(self.class_names)
        return facts | {"features": self.num_features} | self.sizes

    def model_inputs(self) -> TableInputs:
        """The inputs of a net that is trained on these rows."""
        assert self.encoder is not None, "setup has not run"
        return TableInputs(self.encoder, self.missing)


def _targets(target: "pd.Series[float]", task: str) -> tuple[Tensor, Tensor, list[str] | None]:
    """The targets, the class of each row for the split, and the names of the classes (None for regression)."""
    if task == "regression":
        values = torch.tensor(target.to_numpy(dtype="float64"), dtype=torch.float32).unsqueeze(1)
        return values, torch.zeros(len(values), dtype=torch.int64), None
    codes, classes = target.factorize(sort=True)
    labels = torch.tensor(codes, dtype=torch.int64)
    return labels, labels, [str(value) for value in classes]
