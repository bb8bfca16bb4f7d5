"""From what a validation has shown to its figures, with the names that the data module knows."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from plt_nn.callbacks.figures import WrongSample, calibration_figure, confusion_figure, most_wrong_figure
from plt_nn.callbacks.validation_sums import ClassSums

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Drawings = dict[str, Callable[[], "Figure"]]


def class_drawings(sums: ClassSums, data: Any, subtitle: str) -> Drawings:
    """The figures of one validation by name, each as a function that draws it.

    Args:
        sums: What the validation has shown.
        data: The data module, which may know the names of classes (`class_names`) and files (`paths["val"]`).
        subtitle: Which validation this is.
    """
    drawings = Drawings()
    if (confusion := sums.confusion) is not None:
        names = [_class_name(data, code) for code in range(len(confusion))]
        drawings["confusion_matrix"] = lambda: confusion_figure(confusion.numpy().astype(np.int64), names, subtitle)
    count, confidence, right = sums.bins.numpy()
    per = np.maximum(count, 1)
    drawings["calibration"] = lambda: calibration_figure(count, confidence / per, right / per, subtitle)
    if sums.pixels:
        drawings["most_wrong"] = lambda: most_wrong_figure(wrong_samples(sums, data), subtitle)
    return drawings


def wrong_samples(sums: ClassSums, data: Any) -> list[WrongSample]:
    """The most wrong samples, which all have images, as a person calls them.

    Args:
        sums: What the validation has shown.
        data: The data module; see `class_drawings`.
    """
    samples = []
    for (_, true, said, probability, index), image in zip(sums.worst.tolist(), sums.pixels, strict=True):
        names = _class_name(data, int(true)), _class_name(data, int(said))
        samples.append(WrongSample(image.permute(1, 2, 0).numpy(), *names, probability, _file(data, int(index))))
    return samples


def _class_name(data: Any, code: int) -> str:
    names = getattr(data, "class_names", None)
    return str(names[code]) if isinstance(names, list | tuple) and code < len(names) else str(code)


def _file(data: Any, index: int) -> str | None:
    paths = getattr(data, "paths", None)
    files = paths.get("val", ()) if isinstance(paths, dict) else ()
    return str(getattr(files[index], "name", files[index])) if 0 <= index < len(files) else None
