"""A transform of images in two parts: deterministic first steps, whose results can be cached, and the rest."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class ImageTransform:
    """Maps a PIL RGB image to the input of a net.

    Args:
        lead: The first steps, as long as they are deterministic; each maps a PIL RGB image to a PIL RGB image.
        rest: The remaining steps; they give a tensor `(3, H, W)`.
    """

    lead: tuple[Callable[[Any], Any], ...]
    rest: Callable[[Any], Tensor]

    def __call__(self, image: Any) -> Tensor:
        """Transforms an image."""
        return self.rest(self.led(image))

    def led(self, image: Any) -> Any:
        """The PIL RGB image after the first steps; no random numbers are drawn."""
        for step in self.lead:
            image = step(image)
        return image


@dataclass(frozen=True)
class Shrink:
    """Shrinks a PIL image until its shorter side has `size` pixels; smaller images stay unchanged."""

    size: int
    interpolation: str

    def __call__(self, image: Any) -> Any:
        """The smaller image, or the image itself if it is not larger."""
        from torchvision.transforms import InterpolationMode
        from torchvision.transforms.v2.functional import resize

        is_larger = min(image.size) > self.size
        return resize(image, [self.size], InterpolationMode(self.interpolation)) if is_larger else image


def leading(steps: Sequence[Callable[[Any], Any]]) -> tuple[Callable[[Any], Any], ...]:
    """The steps at the beginning that are known to be deterministic and to give a PIL RGB image."""
    return tuple(takewhile(_is_deterministic, steps))


def _is_deterministic(step: Callable[[Any], Any]) -> bool:
    from timm.data.transforms import CenterCropOrPad, ResizeKeepRatio
    from torchvision.transforms import CenterCrop, Resize, v2

    if type(step) is ResizeKeepRatio:
        return not (step.random_scale_prob or step.random_aspect_prob)
    # Exactly these types, because a subclass may do anything.
    return type(step) in (Shrink, v2.Resize, v2.CenterCrop, Resize, CenterCrop, CenterCropOrPad)
