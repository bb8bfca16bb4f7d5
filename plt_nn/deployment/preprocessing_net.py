"""The evaluation preprocessing as a net, so that it can be exported with one: resize and crop as Pillow does them."""

import math

import torch
from torch import Tensor, nn

from plt_nn.backbones.preprocessing import Preprocessing
from plt_nn.errors import refuse

_SUPPORT = {"bilinear": 1.0, "bicubic": 2.0, "box": 0.5, "hamming": 1.0, "lanczos": 3.0}


class PreprocessingNet(nn.Module):
    """From RGB images of any size, uint8 `(N, H, W, 3)`, to what a net takes, float32 `(N, 3, height, width)`.

    Resizing is a matrix for the rows and one for the columns, of which only the cropped part is computed; it is rounded
    to whole shades after each, as Pillow does, and differs from it by one shade at most.

    Raises:
        ConfigError: For a kind of cropping or resizing that is not supported.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        size = preprocessing.size
        self.height, self.width = (size, size) if isinstance(size, int) else size
        faults = []
        # Pillow squashes tall images rows first, wide ones columns first: that is not followed here.
        if preprocessing.crop_mode != "center" or preprocessing.crop_pct > 1:
            faults.append(f"crop_mode {preprocessing.crop_mode!r}, crop_pct {preprocessing.crop_pct} is not supported.")
        if preprocessing.interpolation not in _SUPPORT:
            faults.append(f"interpolation {preprocessing.interpolation!r} is none of {', '.join(_SUPPORT)}.")
        if self.height != self.width:
            faults.append(f"the images are not square: {self.height} x {self.width}.")
        refuse("--with-preprocessing", faults)
        self.interpolation = preprocessing.interpolation
        self.shorter = math.floor(self.height / preprocessing.crop_pct + 1e-6)
        self.register_buffer("mean", torch.tensor(preprocessing.mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(preprocessing.std).view(3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """The images as the net takes them."""
        pixels = images.permute(0, 3, 1, 2).to(torch.float32)
        rows = torch.ones_like(images[0, :, 0, 0], dtype=torch.float64)
        columns = torch.ones_like(images[0, 0, :, 0], dtype=torch.float64)
        height, width = rows.sum(), columns.sum()
        to_height, to_width = self._resized_sides(height, width)
        across = self._weights(torch.cumsum(columns, 0) - 1, width, to_width, self.width)
        down = self._weights(torch.cumsum(rows, 0) - 1, height, to_height, self.height)
        pixels = _whole_shades(pixels @ across.T)  # Pillow too resizes the columns first, and rounds
        pixels = _whole_shades(down @ pixels)
        return (pixels / 255 - self.mean) / self.std

    def _resized_sides(self, height: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
        """The size before the crop: the shorter side as it is given, the longer in proportion, rounded down."""
        shorter = torch.minimum(height, width)
        long = torch.floor(self.shorter * torch.maximum(height, width) / shorter)
        short = torch.full_like(long, self.shorter)
        return torch.where(height <= width, short, long), torch.where(width <= height, short, long)

    def _weights(self, places: Tensor, side: Tensor, resized: Tensor, cropped: int) -> Tensor:
        """How much each pixel of a side counts for each pixel of the cropped side, `(cropped, side)`."""
        scale = side / resized
        stretch = scale.clamp_min(1.0)
        offset = torch.round((resized - cropped) / 2)  # half to even, as Python rounds
        centres = (torch.arange(cropped, dtype=torch.float64, device=places.device) + offset + 0.5) * scale
        begin = torch.floor(centres - _SUPPORT[self.interpolation] * stretch + 0.5)
        end = torch.floor(centres + _SUPPORT[self.interpolation] * stretch + 0.5)
        weights = self._filter((places + 0.5 - centres.unsqueeze(1)) / stretch)
        inside = (places >= begin.unsqueeze(1)) & (places < end.unsqueeze(1))
        weights = torch.where(inside, weights, torch.zeros_like(weights))
        return (weights / weights.sum(1, keepdim=True)).to(torch.float32)

    def _filter(self, x: Tensor) -> Tensor:
        """Pillow's filters."""
        x = x.abs()
        if self.interpolation == "box":
            return (x <= 0.5).to(x.dtype)
        if self.interpolation == "bilinear":
            return (1 - x).clamp_min(0)
        if self.interpolation == "bicubic":
            near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
            return torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))
        if self.interpolation == "hamming":
            return torch.where(x < 1, _sinc(x) * (0.54 + 0.46 * torch.cos(math.pi * x)), torch.zeros_like(x))
        return torch.where(x < 3, _sinc(x) * _sinc(x / 3), torch.zeros_like(x))


def _whole_shades(pixels: Tensor) -> Tensor:
    """Pixels rounded as Pillow does: halves up, and what is a half but for rounding errors too."""
    return torch.floor(pixels + (0.5 + 1e-4)).clamp(0, 255)


def _sinc(x: Tensor) -> Tensor:
    at = torch.where(x == 0, torch.ones_like(x), math.pi * x)
    return torch.where(x == 0, torch.ones_like(x), torch.sin(at) / at)
