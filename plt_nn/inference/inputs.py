"""The inputs of a model: images, the rows of a table, or tensors."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from PIL import Image
from torch import Tensor

from plt_nn.backbones.preprocessing import Preprocessing
from plt_nn.errors import DataError, WeightsError, refuse

if TYPE_CHECKING:
    import pandas as pd

    from plt_nn.inference.table_encoding import TableEncoder


@dataclass(frozen=True)
class ImageInputs:
    """RGB images, and what is done to them."""

    preprocessing: Preprocessing
    kind: ClassVar[str] = "images"

    def batch(self, images: Sequence[Image.Image]) -> Tensor:
        """Images as the net takes them, float32 `(N, 3, H, W)`."""
        transform = self.preprocessing.evaluation_transform()
        return torch.stack([transform(image) for image in images])


@dataclass(frozen=True)
class TableInputs:
    """Rows of a table.

    Args:
        encoder: Makes vectors of rows.
        missing: What missing values mean: `error`, or the `mean` of training.
    """

    encoder: "TableEncoder"
    missing: str = "error"
    kind: ClassVar[str] = "table"

    @property
    def columns(self) -> list[str]:
        """The columns that are needed."""
        return [*self.encoder.means, *self.encoder.categories]

    def batch(self, rows: "pd.DataFrame") -> Tensor:
        """Rows as the net takes them, float32 `(N, features)`.

        Raises:
            DataError: A column or a value is missing, or is no number where one is expected.
        """
        rows = rows.rename(columns=str)
        faults = [f"there is no column {name!r}." for name in self.columns if name not in rows.columns]
        if not faults and self.missing == "error":
            faults = [f"column {name!r} has missing values." for name in self.columns if rows[name].isna().any()]
        refuse(f"The rows (expected columns: {', '.join(self.columns)})", faults, DataError)
        try:
            return self.encoder.encode(rows)
        except (TypeError, ValueError) as error:
            raise DataError(f"The rows have values that are no numbers where numbers are expected: {error}") from error


@dataclass(frozen=True)
class TensorInputs:
    """Tensors, which the caller prepares as for training, with the shape of one sample."""

    shape: tuple[int, ...]
    kind: ClassVar[str] = "tensor"

    def batch(self, values: Any) -> Tensor:
        """Values as the net takes them, float32 `(N, *shape)`.

        Raises:
            DataError: They are no numbers, or of another shape.
        """
        try:
            tensor = torch.as_tensor(values, dtype=torch.float32)
        except (TypeError, ValueError, RuntimeError) as error:
            raise DataError(f"Expected numbers of the shape (N, {self._shape()}): {error}") from error
        if tensor.shape[1:] != self.shape or tensor.ndim < 1:
            raise DataError(f"The input has the shape {tuple(tensor.shape)}; expected (N, {self._shape()}).")
        return tensor

    def _shape(self) -> str:
        return ", ".join(map(str, self.shape))


Inputs = ImageInputs | TableInputs | TensorInputs


def inputs_to_plain(inputs: Inputs) -> dict[str, Any]:
    """Plain values, for a file; what a table's encoder has learnt is beside the others."""
    plain = asdict(inputs)
    return {"kind": inputs.kind, **plain.pop("encoder", {}), **plain}


def inputs_from_plain(plain: Mapping[str, Any]) -> Inputs:
    """The inverse of `inputs_to_plain`.

    Raises:
        WeightsError: For a kind that this version does not know.
        KeyError: If something is missing.
    """
    kind = plain["kind"]
    if kind == "images":
        values: dict[str, Any] = {
            name: tuple(v) if isinstance(v, list) else v for name, v in plain["preprocessing"].items()
        }
        return ImageInputs(Preprocessing(**values))
    if kind == "table":
        from plt_nn.inference.table_encoding import TableEncoder

        parts = {name: dict(plain[name]) for name in ("means", "deviations", "categories")}
        return TableInputs(TableEncoder(**parts), plain["missing"])
    if kind == "tensor":
        return TensorInputs(tuple(int(side) for side in plain["shape"]))
    raise WeightsError(f"The model takes {kind!r}, which this version of plt_nn does not know; update plt_nn.")
