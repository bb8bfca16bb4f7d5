"""From an image as a net gets it to the pixels that a person sees."""

from collections.abc import Sequence

import torch
from torch import Tensor


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
