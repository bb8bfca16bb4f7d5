"""The features of images at every stage of a candidate's net, computed once and cached for later calls."""

import hashlib
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
from plt_nn.features.cache_location import CacheLocation, NoRoom
from plt_nn.features.feature_folder import CacheEntry
from plt_nn.features.rows import RowStore, RowType
from plt_nn.fingerprint.digest import digests
from plt_nn.fingerprint.identity import files_identity, object_identity
from plt_nn.frontier.verify import device_time

_VERSION = 1  # of what a row holds
_BATCH, _FEW = 32, 8


@dataclass(frozen=True)
class CollectedFeatures:
    """The features of some images.

    Args:
        stages: Stage -> features `(N, D)`, from input to the last feature.
        net: The net, in eval mode.
        preprocessing: The preprocessing of the images.
        seconds: Seconds of the net per image, measured in this call.
        computed: Number of images that went through the net; the features of the others were cached.
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
) -> CollectedFeatures:
    """Computes the features that are not cached, and returns all.

    Args:
        candidate: The net and the image size.
        images: All images.
        rows: The numbers of the images whose features are needed, int64 `(N,)`.
        place: Where features are cached.
        device: The device of the net.
        advance: Called with the number of images that were done since the last call.

    Raises:
        PltNNError: If the net cannot be built.
    """
    net = build_net(candidate).to(device)
    preprocessing = preprocessing_of(net, candidate)
    transform = preprocessing.evaluation_transform()
    features = StageFeatures(net)
    seconds, timed = 0.0, 0

    def timed_features(batch: Tensor) -> list[Tensor]:
        nonlocal seconds, timed
        began = device_time(batch.device)
        values = list(features(batch).values())
        seconds, timed = seconds + device_time(batch.device) - began, timed + len(batch)
        return values

    first = next(images.batches([rows[:_FEW]], transform)).to(device)
    found = features(first)  # gives the shapes, and warms the net up
    key = _key(candidate, net, images.paths, transform, list(found))
    cache = _cache(candidate, key, len(images.paths), found, place)
    try:
        parts = torch.split(rows, _BATCH)
        missing = [part for part in parts if not cache.store.has(part)]
        advance(len(rows) - sum(map(len, missing)))
        for part, batch in zip(missing, images.batches(missing, transform), strict=True):
            cache.store.put(part, timed_features(batch.to(device)))
            advance(len(part))
        if not missing:
            timed_features(first)
        arrays = [tensor.float().numpy() for tensor in cache.store.get(rows)]
    finally:
        cache.close()
    stages = dict(zip(found, arrays, strict=True))
    return CollectedFeatures(stages, net, preprocessing, seconds / timed, sum(map(len, missing)))


def _cache(
    candidate: Candidate, key: str | None, size: int, found: dict[str, Tensor], place: CacheLocation
) -> CacheEntry:
    """The cached features of a candidate, from earlier calls or new."""
    types = [RowType(tuple(tensor.shape[1:]), tensor.dtype) for tensor in found.values()]
    cached = place.find(key)
    if cached is not None and list(cached.store.types) == types and cached.store.size == size:
        return cached
    about = {"net": str(candidate), "samples": "images", "up to": "every stage, pooled"}
    try:
        return place.make(key, size, types, {"stages": list(found)}, about)
    except NoRoom:  # pooled features are small enough for memory
        return CacheEntry(RowStore(size, types), {})


def _key(
    candidate: Candidate, net: nn.Module, paths: Sequence[Path], transform: ImageTransform, stages: list[str]
) -> str | None:
    """A digest of everything that the features depend on; None if the transform has no identity."""
    steps = object_identity(transform)
    if steps is None:
        return None
    weights = digests(dict(net.state_dict()))
    device = next((parameter.device.type for parameter in net.parameters()), "cpu")
    versions = [torch.__version__, torchvision.__version__, timm.__version__, PIL.__version__]
    facts = ["pooled", _VERSION, candidate.name, str(weights), steps, files_identity(paths), stages, device, versions]
    return hashlib.sha256(repr(facts).encode()).hexdigest()
