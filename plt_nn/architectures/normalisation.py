"""Normalisation layers by name, for vectors and for images."""

from collections.abc import Callable
from functools import partial
from math import gcd
from typing import Literal, get_args

from torch import nn

from plt_nn.architectures.checks import word_faults
from plt_nn.errors import refuse

Norm = Literal["batch", "group", "layer"]


def create_norm(name: Norm, features: int, images: bool = False) -> nn.Module:
    """Build a normalisation layer.

    Args:
        name: `batch`; `group` (the largest number of groups up to 8 that divides 8 and `features`; Wu and He 2018,
            https://arxiv.org/abs/1803.08494); `layer` (for images over channels and pixels: one group).
        features: Number of features or channels.
        images: True for inputs `(N, C, H, W)`, False for `(N, C)`. Default: False.

    Raises:
        ConfigError: If there is no such normalisation.
    """
    refuse("normalisation", word_faults("norm", name, get_args(Norm)))
    for_vectors, for_images = _NORMS[name]
    return (for_images if images else for_vectors)(features)


def _group_norm(features: int) -> nn.Module:
    return nn.GroupNorm(gcd(8, features), features)


_NORMS: dict[Norm, tuple[Callable[[int], nn.Module], Callable[[int], nn.Module]]] = {
    "batch": (nn.BatchNorm1d, nn.BatchNorm2d),
    "group": (_group_norm, _group_norm),
    "layer": (nn.LayerNorm, partial(nn.GroupNorm, 1)),
}
