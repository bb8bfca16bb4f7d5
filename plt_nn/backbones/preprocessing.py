"""The preprocessing that weights were trained with, as torchvision v2 transforms."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from plt_nn.backbones.image_transform import ImageTransform, Shrink, leading
from plt_nn.errors import did_you_mean, refuse

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
INTERPOLATIONS = ("nearest", "nearest-exact", "bilinear", "bicubic", "box", "hamming", "lanczos")
CROP_MODES = ("center", "squash", "border")


@dataclass(frozen=True)
class Preprocessing:
    """How a PIL RGB image is prepared for a net.

    Args:
        size: Side of the square input, in pixels, or `(height, width)`.
        interpolation: How to resize: one of `INTERPOLATIONS`.
        crop_pct: Side of the central crop as a fraction of the resized image, above 0; 1 keeps all of it.
        mean: Mean of each channel, for pixels in 0 to 1.
        std: Standard deviation of each channel, for pixels in 0 to 1.
        crop_mode: How images of another shape are fitted: `"center"` resizes the shorter side and crops, `"squash"`
            ignores the aspect ratio, `"border"` resizes the longer side and pads with the mean colour (timm's modes).

    Raises:
        ConfigError: Values are out of range or unknown; the text lists all of them.
    """

    size: int | tuple[int, int] = 224
    interpolation: str = "bilinear"
    crop_pct: float = 0.875
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    crop_mode: str = "center"

    def __post_init__(self) -> None:
        words = {"interpolation": (self.interpolation, INTERPOLATIONS), "crop_mode": (self.crop_mode, CROP_MODES)}
        faults = [
            f"{name} is {word!r}.{did_you_mean(word, valid)}"
            for name, (word, valid) in words.items()
            if word not in valid
        ]
        if min(self._height_width()) < 1:
            faults.append(f"size is {self.size!r}; expected pixels, at least 1: an int or (height, width).")
        if not self.crop_pct > 0:
            faults.append(f"crop_pct is {self.crop_pct}; expected a fraction above 0, such as 0.875.")
        refuse("Preprocessing", faults)

    def with_size(self, size: int | tuple[int, int]) -> "Preprocessing":
        """The same preprocessing at another size: the side of the square in pixels, or `(height, width)`."""
        return replace(self, size=size if isinstance(size, int) else (size[0], size[1]))  # YAML gives a list

    def evaluation_transform(self) -> ImageTransform:
        """The deterministic transform: resize, crop centrally, scale to 0..1, normalise.

        Returns:
            A function of a PIL RGB image that gives a float32 tensor `(3, H, W)`, the same one as
            `timm.data.create_transform(is_training=False)` and torchvision's `Weights.transforms()`.
        """
        return self._compose(self._fit())

    def training_transform(
        self, augment: Sequence[Callable[[Any], Any]] | None = None, resize_first: int | None = None
    ) -> ImageTransform:
        """The transform for training images.

        Args:
            augment: torchvision v2 transforms of PIL images, applied in this order; then the image is resized to
                `size` unless it already has it. Default, for photographs: a random crop of 35 to 100 % of the image and
                a horizontal flip. `[]` means no augmentation (the evaluation transform), for digits, text and other
                images that must not be flipped.
            resize_first: Shorter side in pixels to which larger images are shrunk first; default: none.

        Returns:
            A function of a PIL RGB image that gives a float32 tensor `(3, H, W)`.
        """
        from torchvision.transforms import v2

        shrink = [Shrink(resize_first, self.interpolation)] if resize_first is not None else []
        if augment is None:
            crop = v2.RandomResizedCrop(self._height_width(), (0.35, 1.0), interpolation=self._mode())
            return self._compose([*shrink, crop, v2.RandomHorizontalFlip()])
        steps = [*augment, _FitUnless(self._height_width(), self._fit())] if augment else self._fit()
        return self._compose([*shrink, *steps])

    def _height_width(self) -> tuple[int, int]:
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    def _mode(self) -> Any:
        from torchvision.transforms import InterpolationMode

        return InterpolationMode(self.interpolation)

    def _fit(self) -> list[Callable[[Any], Any]]:
        """The steps that resize an image to `size`."""
        from torchvision.transforms import v2

        height, width = self._height_width()
        # The small constant corrects rounding: 224 of 232 pixels (torchvision) must not become 224 of 231.
        resized = [math.floor(side / self.crop_pct + 1e-6) for side in (height, width)]
        if self.crop_mode == "squash":
            return [v2.Resize(resized, self._mode()), v2.CenterCrop([height, width])]
        if self.crop_mode == "center" and height == width:
            return [v2.Resize(resized[0], self._mode()), v2.CenterCrop(height)]
        from timm.data.transforms import CenterCropOrPad, ResizeKeepRatio  # v2 resizes by one side only

        resize: Any = ResizeKeepRatio  # timm leaves it untyped
        if self.crop_mode == "center":
            return [resize(resized, interpolation=self.interpolation), v2.CenterCrop([height, width])]
        red, green, blue = (round(255 * value) for value in self.mean)
        longest = resize(resized, longest=1.0, interpolation=self.interpolation)
        return [longest, CenterCropOrPad([height, width], fill=(red, green, blue))]

    def _compose(self, steps: Sequence[Callable[[Any], Any]]) -> ImageTransform:
        from torchvision.transforms import v2

        lead = leading(steps)
        to_float = v2.ToDtype(torch.float32, scale=True)
        normalise = v2.Normalize(list(self.mean), list(self.std))
        rest = v2.Compose([*steps[len(lead) :], v2.ToImage(), to_float, normalise, v2.ToPureTensor()])
        return ImageTransform(lead, rest)


@dataclass(frozen=True)
class _FitUnless:
    """Resizes an image by `steps`, unless the augmentation already gave it the size `(height, width)`."""

    size: tuple[int, int]
    steps: list[Callable[[Any], Any]]

    def __call__(self, image: Any) -> Any:
        from torchvision.transforms import v2

        return image if tuple(v2.functional.get_size(image)) == self.size else v2.Compose(self.steps)(image)
