"""A transform of images in two parts: what is the same each time, and what comes after it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class ImageTransform:
    """Brings a PIL RGB image into the form that a net takes.

    Args:
        lead: The first steps, as long as they make the same PIL RGB image of an image each time.
        rest: What is done with that; gives a tensor `(3, H, W)`.
    """

    lead: tuple[Callable[[Any], Any], ...]
    rest: Callable[[Any], Tensor]

    def __call__(self, image: Any) -> Tensor:
        """Transforms an image."""
        return self.rest(self.led(image))

    def led(self, image: Any) -> Any:
        """The PIL RGB image that the first steps make of an image; no random numbers are drawn."""
        for step in self.lead:
            image = step(image)
        return image


@dataclass(frozen=True)
class Shrink:
    """Brings a PIL image to a size, unless it is smaller.

    Args:
        size: The shorter side, in pixels.
        interpolation: How to resize, as in `Preprocessing`.
    """

    size: int
    interpolation: str

    def __call__(self, image: Any) -> Any:
        """The smaller image, or the image itself."""
        from torchvision.transforms import InterpolationMode
        from torchvision.transforms.v2.functional import resize

        return (
            resize(image, [self.size], InterpolationMode(self.interpolation)) if min(image.size) > self.size else image
        )


def leading(steps: Sequence[Callable[[Any], Any]]) -> tuple[Callable[[Any], Any], ...]:
    """The first of some steps, as long as they are known to make the same PIL RGB image of an image each time.

    Args:
        steps: Transforms of PIL images.
    """
    lead: list[Callable[[Any], Any]] = []
    for step in steps:
        if not _is_steady(step):
            break
        lead.append(step)
    return tuple(lead)


def _is_steady(step: Callable[[Any], Any]) -> bool:
    from timm.data.transforms import CenterCropOrPad, ResizeKeepRatio
    from torchvision.transforms import CenterCrop, Resize, v2

    if type(step) is ResizeKeepRatio:
        return not (step.random_scale_prob or step.random_aspect_prob)
    # Of these types, and no others: a subclass may do anything.
    return type(step) in (Shrink, v2.Resize, v2.CenterCrop, Resize, CenterCrop, CenterCropOrPad)
