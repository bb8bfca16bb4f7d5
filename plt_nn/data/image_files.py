"""Image files as a data set that reads whole batches."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from plt_nn.backbones.image_transform import ImageTransform
from plt_nn.data.batch import Batch
from plt_nn.data.sampling import Draw
from plt_nn.features.decoded_images import DecodedImages
from plt_nn.inference.images import read_image


class ImageFiles(Dataset[Batch]):
    """Image files that are read, transformed and stacked a whole batch at a time.

    The random numbers of a transform (torch's; torchvision uses no other) depend on the seed, the epoch and the sample
    alone: not on the number of workers or processes, nor on where a run was resumed.

    Args:
        paths: The files.
        labels: Their class codes, int64 `(N,)`.
        transform: From an RGB image to a float tensor `(C, H, W)`.
        seed: Seed of the transform's random numbers.
        decoded: Where images are cached after the first steps of the transform; default: each is decoded every time.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        labels: Tensor,
        transform: ImageTransform,
        seed: int,
        decoded: DecodedImages | None = None,
    ) -> None:
        assert len(paths) == len(labels)
        self.paths, self.labels, self.transform, self.seed = paths, labels, transform, seed
        self.decoded = decoded

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, draw: Draw) -> Batch:
        with torch.random.fork_rng(devices=[]):
            images = [self._image(index, draw.epoch) for index in draw.indices]
        index = torch.tensor(draw.indices)
        return Batch(default_collate(images), self.labels[index], index)

    def _image(self, index: int, epoch: int) -> Tensor:
        torch.default_generator.manual_seed(hash((self.seed, epoch, index)))
        return self.transformed(index)

    def transformed(self, index: int) -> Tensor:
        """An image, transformed with the random numbers that come next."""
        return self.transform.rest(led_image(self.paths[index], index, self.transform, self.decoded))


def led_image(path: Path, index: int, transform: ImageTransform, decoded: DecodedImages | None) -> Image.Image:
    """An image as the first, deterministic steps of a transform leave it.

    Args:
        path: The file, which is read unless the result is cached.
        index: The number of the image in the cache.
        transform: The transform.
        decoded: The cache; None: there is none.
    """
    cached = decoded.get(index) if decoded is not None else None
    if cached is not None:
        return Image.fromarray(cached.numpy())
    led: Image.Image = transform.led(read_image(path))
    if decoded is not None:
        decoded.put(index, torch.from_numpy(np.array(led)))
    return led
