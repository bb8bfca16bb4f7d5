"""From the results of a validation to figures and plain values, with the names that the data module knows."""

import base64
import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plt_nn.callbacks.validation.class_results import ClassResults
from plt_nn.plots.figures import WrongSample, calibration_figure, confusion_figure, most_wrong_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_MOST_CLASSES = 200  # whose confusion matrix is stored as numbers

Drawings = dict[str, Callable[[], "Figure"]]


def class_drawings(results: ClassResults, data: Any, subtitle: str) -> Drawings:
    """The figures of one validation by name, each as a function that draws it.

    Args:
        results: What the validation has shown.
        data: The data module, which may know the names of classes (`class_names`) and files (`paths["val"]`).
        subtitle: Which validation this is.
    """
    drawings = Drawings()
    if (confusion := results.confusion) is not None:
        names = [_class_name(data, code) for code in range(len(confusion))]
        drawings["confusion_matrix"] = lambda: confusion_figure(confusion.numpy().astype(np.int64), names, subtitle)
    drawings["calibration"] = lambda: calibration_figure(results.bins.numpy(), subtitle)
    if results.pixels:
        drawings["most_wrong"] = lambda: most_wrong_figure(wrong_samples(results, data), subtitle)
    return drawings


def class_facts(results: ClassResults, data: Any, subtitle: str) -> dict[str, Any]:
    """What the figures show, as plain values, for reports that compare runs; arguments as of `class_drawings`.

    Returns:
        `validation`: which it is; up to 200 classes, `classes`: their names, and `confusion`: `(C, C)`, the rows are
        the true classes; `most_wrong`: `image` (a data URI, JPEG), `true`, `said`, `probability`, `file`.
    """
    facts: dict[str, Any] = {"validation": subtitle}
    if results.confusion is not None and len(results.confusion) <= _MOST_CLASSES:
        facts["classes"] = [_class_name(data, code) for code in range(len(results.confusion))]
        facts["confusion"] = results.confusion.tolist()
    wrong = wrong_samples(results, data) if results.pixels else []
    facts["most_wrong"] = [{**sample._asdict(), "image": _jpeg(sample.image)} for sample in wrong]
    return facts


def wrong_samples(results: ClassResults, data: Any) -> list[WrongSample]:
    """The most wrong samples, all of which have images, with the names that people use."""
    samples = []
    for (_, true, said, probability, index), image in zip(results.worst.tolist(), results.pixels, strict=True):
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


def _jpeg(image: NDArray[np.uint8]) -> str:
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(content, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"


def to_pixels(image: Tensor, mean: Sequence[float] | None = None, std: Sequence[float] | None = None) -> Tensor:
    """The pixels of an image, from 0 to 255.

    Args:
        image: float `(1 or 3, H, W)`.
        mean: The mean that was subtracted from each channel; None if it is not known, and then the image's own range is
            spread over all shades.
        std: The deviation that each channel was divided by; goes with `mean`.

    Returns:
        uint8 `(1 or 3, H, W)`.
    """
    image = image.float().nan_to_num(0.0)
    if mean is not None and std is not None and len(mean) == len(std) == len(image):
        image = image * torch.tensor(std).view(-1, 1, 1) + torch.tensor(mean).view(-1, 1, 1)
    else:
        low, high = image.min(), image.max()
        image = (image - low) / (high - low).clamp_min(1e-12)
    return (image.clamp(0.0, 1.0) * 255).round().to(torch.uint8)
