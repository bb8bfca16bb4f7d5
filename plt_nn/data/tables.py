"""Read a table from a file, and find its faults before training."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from plt_nn.errors import DataError, did_you_mean
from plt_nn.text import quoted

TABLE_SUFFIXES = (".csv", ".csv.gz", ".parquet", ".pq")


@dataclass(frozen=True)
class Columns:
    """The roles of a table's columns.

    Attributes:
        target: The column to predict.
        numeric: The columns taken as numbers.
        categorical: The columns taken as categories.
    """

    target: str
    numeric: list[str]
    categorical: list[str]


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV or Parquet file.

    Raises:
        DataError: The file is missing, empty, or not of the type of its suffix.
    """
    if not path.is_file():
        near = [entry.name for entry in path.parent.glob("*") if entry.name.lower().endswith(TABLE_SUFFIXES)]
        raise DataError(f"There is no file {path}.{did_you_mean(path.name, near)}")
    try:
        is_parquet = path.suffix.lower() in (".parquet", ".pq")
        frame = pd.read_parquet(path) if is_parquet else pd.read_csv(path, low_memory=False)  # one type a column
    except Exception as error:  # each reader and engine raises its own errors
        raise DataError(f"{path} cannot be read as a CSV or Parquet table: {error}") from error
    if frame.empty:
        raise DataError(f"{path} holds no rows.")
    return frame.rename(columns=str)


def choose_columns(
    frame: pd.DataFrame, target: str, numeric: Sequence[str] | None, categorical: Sequence[str] | None
) -> Columns:
    """The columns to use: the named ones; if no numeric ones are named, all remaining columns are numeric."""
    categories = list(categorical or ())
    rest = [column for column in frame.columns if column != target and column not in categories]
    return Columns(target, rest if numeric is None else list(numeric), categories)


def table_faults(
    frame: pd.DataFrame,
    columns: Columns,
    task: Literal["classification", "regression"],
    missing: Literal["error", "mean"],
) -> list[str]:
    """All faults of a table, one sentence each."""
    used = [columns.target, *columns.numeric, *columns.categorical]
    unknown = [column for column in used if column not in frame.columns]
    if unknown:
        hints = [f"there is no column {name!r}.{did_you_mean(name, frame.columns)}" for name in unknown]
        return hints + _separator_faults(frame)
    repeated = sorted({column for column in used if used.count(column) > 1})
    if repeated:
        return [f"column(s) {quoted(repeated)} are named more than once as target, numeric or categorical."]
    if len(used) == 1:
        return [f"there is no column to predict {columns.target!r} from."]
    texts = [column for column in columns.numeric if not is_numeric_dtype(frame[column])]
    numbers = frame[[column for column in columns.numeric if column not in texts]].astype("float64")
    faults = [_text_fault(frame[column]) for column in texts]
    infinite = [str(column) for column in numbers if np.isinf(numbers[column]).any()]
    if infinite:
        faults.append(f"infinite values in column(s) {quoted(infinite)}. Mend or empty these cells.")
    if missing == "error":
        faults += _missing_faults(frame[used[1:]])
    return faults + _target_faults(frame[columns.target], task)


def _separator_faults(frame: pd.DataFrame) -> list[str]:
    only = str(frame.columns[0])
    if len(frame.columns) > 1 or not any(separator in only for separator in ";\t|"):
        return []
    return [f"it has a single column, {only!r}; its values are probably not separated by commas. Save it with commas."]


def _text_fault(values: pd.Series) -> str:
    texts = values.dropna().astype("string")
    stray = texts[pd.to_numeric(texts, errors="coerce").isna()]
    examples = quoted(sorted(stray.unique()), most=3)
    if len(stray) < len(texts) / 2:
        return (
            f"column {values.name!r} has text among its numbers, in {len(stray)} rows: {examples}. Mend or empty them."
        )
    return (
        f"column {values.name!r} is text, with {texts.nunique()} distinct values: {examples}."
        " Name it in `categorical`, or choose the columns to use with `numeric`."
    )


def _missing_faults(features: pd.DataFrame) -> list[str]:
    counts = features.isna().sum()
    counted = ", ".join(f"{column!r} {count}" for column, count in counts[counts > 0].items())
    if not counted:
        return []
    return [
        f"missing values: {counted} (of {len(features)} rows). Fill them or remove the rows, or set `missing: mean`"
        " (numeric columns take their training mean, categorical ones belong to no category)."
    ]


def _target_faults(target: pd.Series, task: Literal["classification", "regression"]) -> list[str]:
    faults = []
    absent = int(target.isna().sum())
    if absent:
        faults.append(f"the target {target.name!r} is missing in {absent} rows. Remove them.")
    if target.nunique() == 1:
        faults.append(f"the target {target.name!r} is {target.dropna().iloc[0]!s} in every row: nothing can be learnt.")
    if task == "regression" and not is_numeric_dtype(target):
        faults.append(f"the target {target.name!r} is not numeric. Set `task: classification`, or mend the column.")
    if task == "classification" and target.dtype.kind == "f" and not (target.dropna() % 1 == 0).all():
        faults.append(f"the target {target.name!r} has fractions, so it is no class. Set `task: regression`.")
    return faults
