"""What a `validation_step` has returned, if the module classifies. Pure: no Trainer."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor


class ClassOutputs(NamedTuple):
    """What a module says of a batch."""

    probabilities: Tensor  # float (N, C)
    y: Tensor  # the true classes, int64 (N,)
    indices: Tensor | None  # the place of each sample in its split, (N,); None where it is unknown


def class_outputs(outputs: object) -> ClassOutputs | None:
    """The outputs of a `validation_step` that classifies; None for anything else.

    Args:
        outputs: What `validation_step` returned: a mapping with `probabilities` or `logits` `(N, C)`, C at least 2,
            whole numbers `y` `(N,)`, and optionally `index` `(N,)`.
    """
    if not isinstance(outputs, Mapping):
        return None
    given, logits, y, index = (outputs.get(name) for name in ("probabilities", "logits", "y", "index"))
    scores = given if isinstance(given, Tensor) else logits
    if not isinstance(scores, Tensor) or scores.ndim != 2 or scores.shape[1] < 2:
        return None
    if not isinstance(y, Tensor) or y.shape != scores.shape[:1] or y.is_floating_point() or len(y) == 0:
        return None
    scores = scores.detach().float()
    known = isinstance(index, Tensor) and index.shape == y.shape
    return ClassOutputs(scores if isinstance(given, Tensor) else scores.softmax(1), y.long(), index if known else None)


def images_of(batch: Any, size: int) -> Tensor | None:
    """The first part of a batch if it is `size` images `(N, 1 or 3, H, W)`; else None."""
    x = batch[0] if isinstance(batch, Sequence) and batch else None
    is_images = isinstance(x, Tensor) and x.ndim == 4 and x.shape[1] in (1, 3) and len(x) == size
    return x if is_images else None
