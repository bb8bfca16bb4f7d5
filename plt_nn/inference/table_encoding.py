"""Rows of a table as vectors: numeric columns standardised, categorical columns one-hot."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import one_hot


@dataclass(frozen=True)
class TableEncoder:
    """What was learnt from the training rows, to turn any rows into vectors.

    Attributes:
        means: Numeric column -> its mean, which also stands in for a missing value.
        deviations: Numeric column -> its standard deviation; 1 for a constant column.
        categories: Categorical column -> its values as text, sorted. A missing or unknown value is all zeros.
    """

    means: dict[str, float]
    deviations: dict[str, float]
    categories: dict[str, list[str]]

    @property
    def feature_names(self) -> list[str]:
        """The name of each element of a vector: `column`, or `column=value`."""
        one_hot_names = [f"{column}={value}" for column, values in self.categories.items() for value in values]
        return [*self.means, *one_hot_names]

    def encode(self, rows: pd.DataFrame) -> Tensor:
        """The rows as float32 `(N, number of feature names)`."""
        means, deviations = pd.Series(self.means, dtype="float64"), pd.Series(self.deviations, dtype="float64")
        numbers = rows[list(self.means)].astype("float64").fillna(self.means)
        parts = [torch.tensor(((numbers - means) / deviations).to_numpy(), dtype=torch.float32)]
        for column, values in self.categories.items():
            places = {value: place for place, value in enumerate(values, start=1)}
            codes = rows[column].astype("string").map(places).fillna(0)  # 0: missing or unknown
            parts.append(one_hot(torch.tensor(codes.to_numpy(dtype="int64")), len(values) + 1)[:, 1:].float())
        return torch.cat(parts, dim=1)


def fit_encoder(rows: pd.DataFrame, numeric: Sequence[str], categorical: Sequence[str]) -> TableEncoder:
    """What the training rows teach about the columns to standardise, and about those to encode as one-hot."""
    numbers = rows[list(numeric)].astype("float64")
    deviations = numbers.std(ddof=0).fillna(0.0)
    return TableEncoder(
        means=dict(zip(numeric, numbers.mean().fillna(0.0).tolist(), strict=True)),
        deviations=dict(zip(numeric, deviations.where(deviations > 0.0, 1.0).tolist(), strict=True)),
        categories={column: sorted(rows[column].dropna().astype("string").unique()) for column in categorical},
    )
