"""The predictions of a model as a table."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    import pandas as pd


def prediction_table(outputs: Tensor, class_names: Sequence[str] | None) -> "pd.DataFrame":
    """A row for each sample: `label`, `score`, `probability_CLASS` for each class; or `value`; or `value_0` and so on.

    Args:
        outputs: Probabilities `(N, classes)`, or values `(N, targets)`.
        class_names: The classes; None for values.
    """
    import pandas as pd

    outputs = outputs.double()
    if class_names is None:
        columns = ["value"] if outputs.shape[1] == 1 else [f"value_{number}" for number in range(outputs.shape[1])]
        return pd.DataFrame(outputs.numpy(), columns=columns)
    table = pd.DataFrame(outputs.numpy(), columns=[f"probability_{name}" for name in class_names])
    scores, codes = outputs.max(1)
    table.insert(0, "label", [class_names[code] for code in codes.tolist()])
    table.insert(1, "score", scores.numpy())
    return table
