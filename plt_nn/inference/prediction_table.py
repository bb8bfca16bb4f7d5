"""The predictions of a model as a table."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    import pandas as pd


def prediction_columns(class_names: Sequence[str] | None, outputs: int) -> list[str]:
    """The columns of the outputs.

    Args:
        class_names: The classes; None for values.
        outputs: How many outputs there are.
    """
    if class_names is not None:
        return [f"probability_{name}" for name in class_names]
    return ["value"] if outputs == 1 else [f"value_{number}" for number in range(outputs)]


def prediction_table(outputs: Tensor, class_names: Sequence[str] | None) -> "pd.DataFrame":
    """A row for each sample: `label`, `score`, `probability_CLASS` for each class; or `value`; or `value_0` and so on.

    Args:
        outputs: Probabilities `(N, classes)`, or values `(N, targets)`.
        class_names: The classes; None for values.
    """
    import pandas as pd

    table = pd.DataFrame(outputs.double().numpy(), columns=prediction_columns(class_names, outputs.shape[1]))
    if class_names is not None:
        scores, codes = outputs.double().max(1)
        table.insert(0, "label", [class_names[code] for code in codes.tolist()])
        table.insert(1, "score", scores.numpy())
    return table
