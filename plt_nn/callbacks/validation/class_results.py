"""The results of a classifier in one validation, added up and merged over processes. Pure: no Trainer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, distributed
from torch.nn import functional as F

from plt_nn.features.lazy_inputs import LazyInputs
from plt_nn.plots.confusion_matrix import ClassCounts, accumulator


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


_THUMBNAIL = 160  # longest side of a stored image, in pixels


@dataclass(frozen=True)
class ClassResults:
    """The results of a whole validation, on the CPU.

    Attributes:
        confusion: int32 `(C, C)`, see `ClassCounts`; None above 1,000 classes.
        bins: float64 `(3, B)`, see `ClassCounts`.
        worst: float64 `(K, 5)`, the most wrong first: the probability of the true class, the true class, the class that
            was said, its probability, the sample's index or -1.
        pixels: The image of each of the worst, uint8 `(1 or 3, H, W)`; empty where the data is no images.
    """

    confusion: Tensor | None
    bins: Tensor
    worst: Tensor
    pixels: list[Tensor]


class RunningResults:
    """Adds up a validation batch by batch, on the device and without waiting for it.

    Args:
        classes: Number of classes.
        bins: Number of ranges of confidence.
        most: How many of the most wrong samples to store.
        device: Where the batches are.
    """

    def __init__(self, classes: int, bins: int, most: int, device: torch.device) -> None:
        self.counts, self._most = ClassCounts(classes, bins, device), most
        self._worst = torch.empty(0, 5, dtype=accumulator(device), device=device)
        self._images: Tensor | None = None

    def add(self, outputs: ClassOutputs, images: Tensor | None) -> None:
        """Adds a batch.

        Args:
            outputs: What the module said.
            images: Float or uint8 `(N, 1 or 3, H, W)`, or None.
        """
        probabilities, y = outputs.probabilities.nan_to_num(0.0), outputs.y
        wrong = self.counts.add(probabilities, y)
        if self._most:
            confidence, said = probabilities.max(1)
            true = y.clamp(0, self.counts.classes - 1)
            of_true = probabilities.gather(1, true.unsqueeze(1)).squeeze(1).where(wrong, torch.inf)
            index = torch.full_like(y, -1) if outputs.indices is None else outputs.indices
            rows = torch.stack([part.to(self._worst.dtype) for part in (of_true, y, said, confidence, index)], dim=1)
            self._take_worst(rows, images)

    def finish(self, to_pixels: Callable[[Tensor], Tensor]) -> ClassResults:
        """The results, on the CPU.

        Args:
            to_pixels: From an image of a batch, float `(1 or 3, H, W)`, to what a person sees, uint8.
        """
        worst, confusion = self._worst.cpu().double(), self.counts.confusion
        worst = worst[worst[:, 0] < torch.inf].clone()
        images = [] if self._images is None else list(self._images[: len(worst)].float().cpu())
        pixels = [to_pixels(image) for image in images]
        bins = self.counts.bins.cpu().double()
        return ClassResults(confusion.cpu().int() if len(confusion) else None, bins, worst, pixels)

    def _take_worst(self, rows: Tensor, images: Tensor | None) -> None:
        first = rows[:, 0].topk(min(self._most, len(rows)), largest=False).indices
        if rows.device.type == "cpu" or isinstance(images, LazyInputs):
            # To look costs nothing on a CPU, and spares the copying of images; a GPU has to be waited for, which pays
            # where images would have to be read.
            limit = self._worst[-1, 0] if len(self._worst) == self._most else torch.inf
            first = first[rows[first, 0] < limit]
            if len(first) == 0:
                return
        together = torch.cat([self._worst, rows[first]])
        chosen = together[:, 0].topk(min(self._most, len(together)), largest=False).indices
        if images is not None and (self._images is not None or len(self._worst) == 0):
            added = thumbnails(images[first], self._images)
            self._images = (added if self._images is None else torch.cat([self._images, added]))[chosen]
        else:
            self._images = None  # some of the samples have none
        self._worst = together[chosen]


def thumbnails(images: Tensor, others: Tensor | None = None) -> Tensor:
    """Images of at most 160 pixels a side, which is what a figure of many shows; or in the shape of others.

    Args:
        images: `(N, C, H, W)`.
        others: Thumbnails of earlier batches.
    """
    longest = max(*images.shape[-2:], _THUMBNAIL)
    size = [max(1, round(side * _THUMBNAIL / longest)) for side in images.shape[-2:]]
    size = size if others is None else list(others.shape[-2:])
    if list(images.shape[-2:]) != size:
        smooth = images.device.type != "mps"  # which cannot do it in every version
        images = F.interpolate(images.float(), size=size, mode="bilinear", antialias=smooth)
    if others is None:
        return images
    grey = images if images.shape[1] == others.shape[1] else images.mean(1, keepdim=True, dtype=torch.float32)
    return grey.expand(-1, others.shape[1], -1, -1).to(others.dtype)


def worst_of_all(tables: Sequence[Tensor], most: int) -> list[tuple[int, int]]:
    """The most wrong samples of several processes: the process and the row in its table of each, the worst first.

    Args:
        tables: `ClassResults.worst` of each process.
        most: How many to choose.
    """
    rows = [(float(row[0]), process, at) for process, table in enumerate(tables) for at, row in enumerate(table)]
    return [(process, at) for _, process, at in sorted(rows)[:most]]


def merge_processes(mine: ClassResults | None, most: int, device: torch.device) -> ClassResults | None:
    """The results of all processes; every process must call this, also one that has seen nothing.

    The first exchange is small and tells every process what comes next. Images travel to process 0 alone, and only
    those that are among the most wrong of all.

    Args:
        mine: What this process has seen; None if that is nothing.
        most: How many of the most wrong samples to store.
        device: Where tensors must be for the processes to exchange them.

    Returns:
        The results of all, with images on process 0 alone; None if no process has seen anything, or if they have seen
        different numbers of classes.
    """
    if not (distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1):
        return mine
    shapes = mine and (None if mine.confusion is None else mine.confusion.shape, mine.bins.shape)
    everyones: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(everyones, mine and (shapes, mine.worst))
    seen = [other for other in everyones if other is not None]
    if len({shapes for shapes, _ in seen}) != 1:
        return None
    empty = torch.zeros(0, 5, dtype=torch.float64)
    tables = [empty if other is None else other[1] for other in everyones]
    chosen = worst_of_all(tables, most)
    (confusion, bins), _ = seen[0]
    return ClassResults(
        confusion=None if confusion is None else _sum(mine.confusion if mine else None, confusion, torch.int32, device),
        bins=_sum(mine.bins if mine else None, bins, torch.float64, device),
        worst=torch.stack([tables[process][at] for process, at in chosen]) if chosen else empty,
        pixels=_gather_pixels(mine.pixels if mine else [], chosen),
    )


def _sum(mine: Tensor | None, shape: torch.Size, dtype: torch.dtype, device: torch.device) -> Tensor:
    total = torch.zeros(shape, dtype=dtype, device=device) if mine is None else mine.to(device, copy=True)
    distributed.all_reduce(total)
    return total.cpu()


def _gather_pixels(mine: list[Tensor], chosen: list[tuple[int, int]]) -> list[Tensor]:
    """The images of the chosen samples on process 0, if all have one; nothing on the other processes."""
    rank = distributed.get_rank()
    share = {at: mine[at] for process, at in chosen if process == rank and at < len(mine)}
    shares: list[Any] | None = [None] * distributed.get_world_size() if rank == 0 else None
    distributed.gather_object(share, shares, dst=0)
    found = [] if shares is None else [shares[process].get(at) for process, at in chosen]
    return [] if any(pixels is None for pixels in found) else found
