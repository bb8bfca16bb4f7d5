"""The features of images at every stage of a candidate's net, computed once and found again by later calls."""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL
import timm
import torch
import torchvision
from numpy.typing import NDArray
from torch import Tensor, nn

from plt_nn.advice.build import build_net, preprocessing_of
from plt_nn.advice.candidates import Candidate
from plt_nn.advice.images import Images
from plt_nn.advice.probes.stage_features import StageFeatures
from plt_nn.backbones import Preprocessing
from plt_nn.backbones.image_transform import ImageTransform
from plt_nn.features.cache_location import CacheEntry, CacheLocation, NoRoom
from plt_nn.features.rows import RowStore, RowType
from plt_nn.fingerprint.digest import digests
from plt_nn.fingerprint.identity import files_identity, object_identity

_VERSION = 1  # of what a row holds
_BATCH, _FEW = 32, 8


@dataclass(frozen=True)
class Collected:
    """The features of some images.

    Args:
        stages: Stage -> features `(N, D)`, from input to the last feature.
        net: The net, in eval mode.
        preprocessing: What was done to the images.
        seconds: How long the net took for an image; measured in this call.
        computed: How many images went through the net; the others were found.
    """

    stages: dict[str, NDArray[np.float32]]
    net: nn.Module
    preprocessing: Preprocessing
    seconds: float
    computed: int


def collect(
    candidate: Candidate,
    images: Images,
    rows: Tensor,
    place: CacheLocation,
    device: str = "cpu",
    advance: Callable[[int], None] = lambda count: None,
) -> Collected:
    """Collects features.

    Args:
        candidate: What computes them.
        images: All images.
        rows: The numbers of those that are wanted, int64 `(N,)`.
        place: Where features are kept.
        device: Where the net runs.
        advance: Told how many images more are done.

    Raises:
        PltNNError: If the net cannot be built.
    """
    net = build_net(candidate).to(device)
    preprocessing = preprocessing_of(net, candidate)
    transform = preprocessing.evaluation_transform()
    features = StageFeatures(net)
    clock = _Clock()
    first = next(images.batches([rows[:_FEW]], transform)).to(device)
    found = features(first)  # tells the shapes, and what is done once is done
    kept = _kept(candidate, net, images, transform, place, found)
    try:
        parts = torch.split(rows, _BATCH)
        missing = [part for part in parts if not kept.store.has(part)]
        advance(len(rows) - sum(map(len, missing)))
        for part, batch in zip(missing, images.batches(missing, transform), strict=True):
            kept.store.put(part, clock.timed(features, batch.to(device)))
            advance(len(part))
        if not missing:
            clock.timed(features, first)
        arrays = [tensor.float().numpy() for tensor in kept.store.get(rows)]
    finally:
        kept.close()
    return Collected(
        dict(zip(found, arrays, strict=True)), net, preprocessing, clock.seconds_per_image, sum(map(len, missing))
    )


class _Clock:
    """Tells how long a net takes for an image."""

    def __init__(self) -> None:
        self._seconds, self._images = 0.0, 0

    def timed(self, features: StageFeatures, images: Tensor) -> list[Tensor]:
        """The features of some images, in the order of the stages."""
        _wait_for_gpu()
        began = time.perf_counter()
        found = list(features(images).values())
        _wait_for_gpu()
        self._seconds += time.perf_counter() - began
        self._images += len(images)
        return found

    @property
    def seconds_per_image(self) -> float:
        return self._seconds / self._images


def _wait_for_gpu() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _kept(
    candidate: Candidate,
    net: nn.Module,
    images: Images,
    transform: ImageTransform,
    place: CacheLocation,
    found: dict[str, Tensor],
) -> CacheEntry:
    """The rows of a candidate, those of earlier calls or new ones."""
    types = [RowType(tuple(tensor.shape[1:]), tensor.dtype) for tensor in found.values()]
    key = _key(candidate, net, images.paths, transform, list(found))
    kept = place.find(key)
    if kept is not None and list(kept.store.types) == types and kept.store.size == len(images.paths):
        return kept
    about = {"net": str(candidate), "samples": "images", "up to": "every stage, pooled"}
    try:
        return place.make(key, len(images.paths), types, {"stages": list(found)}, about)
    except NoRoom:  # pooled features are small: they are held in memory all the same
        return CacheEntry(RowStore(len(images.paths), types), {}, None)


def _key(
    candidate: Candidate, net: nn.Module, paths: Sequence[Path], transform: ImageTransform, stages: list[str]
) -> str | None:
    """A digest of all that the features hang on; None where that cannot be told."""
    steps = object_identity(transform)
    if steps is None:
        return None
    weights = digests(dict(net.state_dict()))
    device = next((parameter.device.type for parameter in net.parameters()), "cpu")
    versions = [torch.__version__, torchvision.__version__, timm.__version__, PIL.__version__]
    facts = ["pooled", _VERSION, candidate.name, str(weights), steps, files_identity(paths), stages, device, versions]
    return hashlib.sha256(repr(facts).encode()).hexdigest()
