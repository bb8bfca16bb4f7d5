"""What one validation of a classifier has shown: sums and a few samples, whatever its length. Pure: no Trainer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from plt_nn.features.lazy_inputs import LazyInputs

_MOST_CLASSES = 1_000  # of a confusion matrix: it grows with their square
_THUMBNAIL = 160  # longest side of a sample that is kept, in pixels
_RIGHT, _TRUE, _SAID, _CONFIDENCE, _INDEX = range(5)  # the columns of `worst`


class ClassOutputs(NamedTuple):
    """What a module says of a batch.

    Attributes:
        probabilities: float `(N, C)`.
        y: The true classes, `(N,)`.
        indices: The place of each sample in its split, `(N,)`; None where it is not known.
    """

    probabilities: Tensor
    y: Tensor
    indices: Tensor | None


def class_outputs(outputs: object) -> ClassOutputs | None:
    """The outputs of a `validation_step` that classifies; None for anything else.

    Args:
        outputs: What `validation_step` returned: a mapping with `probabilities` or `logits` `(N, C)`, C at least 2,
            whole numbers `y` `(N,)`, and, if it likes, `index` `(N,)`.
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
    """The images of a batch, `(N, 1 or 3, H, W)`, if its first part is that; else None.

    Args:
        batch: A batch.
        size: The number of samples, N.
    """
    x = batch[0] if isinstance(batch, Sequence) and batch else None
    is_images = isinstance(x, Tensor) and x.ndim == 4 and x.shape[1] in (1, 3) and len(x) == size
    return x if is_images else None


@dataclass(frozen=True)
class ClassSums:
    """What a whole validation has shown, on the CPU.

    Attributes:
        confusion: int32 `(C, C)`: how many samples of the class of a row were said to be of the class of a column; None
            above 1,000 classes.
        bins: float64 `(3, B)`: number of samples, sum of confidences, number of right ones in each of B equal ranges of
            confidence, the probability of the class that was said.
        worst: float64 `(K, 5)`, the most wrong first: the probability of the true class, the true class, the class that
            was said, its probability, the sample's index or -1.
        pixels: The image of each of the worst, uint8 `(1 or 3, H, W)`; none where the data is no images.
    """

    confusion: Tensor | None
    bins: Tensor
    worst: Tensor
    pixels: list[Tensor]

    def to_state(self) -> dict[str, Any]:
        """Tensors and lists of them, for a checkpoint."""
        return {"confusion": self.confusion, "bins": self.bins, "worst": self.worst, "pixels": self.pixels}


class RunningSums:
    """Adds up a validation batch by batch, on the device and without waiting for it.

    Args:
        classes: Number of classes, C.
        bins: Number of bins of confidence.
        most: How many of the most wrong samples to keep.
        device: Where the batches are.
    """

    def __init__(self, classes: int, bins: int, most: int, device: torch.device) -> None:
        self.classes, self.most = classes, most
        cells = classes * classes if classes <= _MOST_CLASSES else 0
        self.dtype = torch.float32 if device.type == "mps" else torch.float64  # which MPS lacks
        self.confusion = torch.zeros(cells, dtype=torch.int64, device=device)
        self.bins = torch.zeros(3, bins, dtype=self.dtype, device=device)
        self.bounds = torch.linspace(0, 1, bins + 1, device=device)[1:-1]
        self.worst = torch.empty(0, 5, dtype=self.dtype, device=device)
        self.images: Tensor | None = None

    def add(self, outputs: ClassOutputs, images: Tensor | None) -> None:
        """Adds a batch; a target that is no class, as -100 often marks, is passed over.

        Args:
            outputs: What the module said.
            images: float or uint8 `(N, 1 or 3, H, W)`, or None.
        """
        probabilities, y = outputs.probabilities.nan_to_num(0.0), outputs.y
        counted = (y >= 0) & (y < self.classes)
        true = torch.where(counted, y, 0)
        confidence, said = probabilities.max(1)
        right = counted & (said == true)
        if len(self.confusion):
            self.confusion.index_add_(0, true * self.classes + said, counted.long())
        rows = torch.stack([part.to(self.dtype) for part in (counted, confidence * counted, right)])
        self.bins.index_add_(1, torch.bucketize(confidence, self.bounds, right=True), rows)
        if self.most:
            of_true = probabilities.gather(1, true.unsqueeze(1)).squeeze(1)
            of_true = torch.where(counted & ~right, of_true, torch.inf)  # none but the wrong ones
            index = torch.full_like(y, -1) if outputs.indices is None else outputs.indices
            columns = torch.stack([column.to(self.dtype) for column in (of_true, true, said, confidence, index)], dim=1)
            self._take_worst(columns, images)

    def finished(self, to_pixels: Callable[[Tensor], Tensor]) -> ClassSums:
        """The sums, on the CPU.

        Args:
            to_pixels: From an image of a batch, float `(1 or 3, H, W)`, to what a person sees, uint8.
        """
        worst = self.worst.cpu().double()
        wrong = int((worst[:, _RIGHT] < torch.inf).sum())
        shape = (self.classes, self.classes)
        images = [] if self.images is None else list(self.images[:wrong].float().cpu())
        return ClassSums(
            confusion=self.confusion.cpu().int().reshape(shape) if len(self.confusion) else None,
            bins=self.bins.cpu().double(),
            worst=worst[:wrong].clone(),
            pixels=[to_pixels(image) for image in images],
        )

    def _take_worst(self, columns: Tensor, images: Tensor | None) -> None:
        first = columns[:, _RIGHT].topk(min(self.most, len(columns)), largest=False).indices
        if columns.device.type == "cpu" or isinstance(images, LazyInputs):
            # To look costs nothing on a CPU, and spares the copying of images; a GPU has to be waited for, which pays
            # where images would have to be read.
            limit = self.worst[-1, _RIGHT] if len(self.worst) == self.most else torch.inf
            first = first[columns[first, _RIGHT] < limit]
            if len(first) == 0:
                return
        new = columns[first]
        together = torch.cat([self.worst, new])
        chosen = together[:, _RIGHT].topk(min(self.most, len(together)), largest=False).indices
        if images is not None and (self.images is not None or len(self.worst) == 0):
            added = thumbnails(images[first])
            kept = added if self.images is None else torch.cat([self.images, _alike(added, self.images)])
            self.images = kept[chosen]
        else:
            self.images = None  # some of the samples have none
        self.worst = together[chosen]


def thumbnails(images: Tensor) -> Tensor:
    """Images at 160 pixels a side at most, which is what a figure of many shows.

    Args:
        images: `(N, C, H, W)`.
    """
    longest = max(images.shape[-2:])
    if longest <= _THUMBNAIL:
        return images
    size = [max(1, round(side * _THUMBNAIL / longest)) for side in images.shape[-2:]]
    return _resized(images, size)


def worst_of_all(tables: Sequence[Tensor], most: int) -> list[tuple[int, int]]:
    """The most wrong samples of several processes: the process and the row in its table of each, the worst first.

    Args:
        tables: `ClassSums.worst` of each process.
        most: How many to choose.
    """
    rows = [(float(row[_RIGHT]), process, at) for process, table in enumerate(tables) for at, row in enumerate(table)]
    return [(process, at) for _, process, at in sorted(rows)[:most]]


def _alike(images: Tensor, others: Tensor) -> Tensor:
    """Images in the shape of others, for batches of unequal shapes."""
    if images.shape[1:] != others.shape[1:]:
        images = _resized(images, list(others.shape[-2:]))
        images = images if images.shape[1] == others.shape[1] else images.mean(1, keepdim=True)
        images = images.expand(-1, others.shape[1], -1, -1)
    return images.to(others.dtype)


def _resized(images: Tensor, size: list[int]) -> Tensor:
    smooth = images.device.type != "mps"  # which cannot do it in every version
    return F.interpolate(images.float(), size=size, mode="bilinear", antialias=smooth)
