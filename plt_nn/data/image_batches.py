"""Batches of images that are read from files as they are needed."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from lightning.pytorch import Trainer
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from plt_nn.backbones.image_transform import ImageTransform
from plt_nn.data.batch import Batch
from plt_nn.data.feature_sources import ImageSource
from plt_nn.data.images import usable_cores
from plt_nn.data.sampling import Draw, EpochBatches
from plt_nn.data.workers import outlive_sigterm
from plt_nn.features.decoded import DecodedImages
from plt_nn.inference.images import read_image


class ImageBatches(DataLoader[Batch]):
    """A `DataLoader` over an `EpochBatches` sampler that begins when the first batch is asked for, and can be resumed.

    Lightning asks for the iterator before it tells the sampler the epoch; workers that began to read at once would
    read the order of epoch 0 after a resume.

    Args:
        dataset: Gives a whole `Batch` for a `Draw`.
        sampler: An `EpochBatches`, with `batch_size=None`; the other arguments are `DataLoader`'s.
    """

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]  # torch names its private iterator class
        for batch in super().__iter__():
            self.epoch_batches.done += 1
            yield batch

    @property
    def files(self) -> "ImageFiles":
        """What is read."""
        return cast("ImageFiles", self.dataset)

    @property
    def epoch_batches(self) -> EpochBatches:
        """The order in which it is read."""
        return cast("EpochBatches", self.sampler)

    def feature_source(self, views: int = 0) -> ImageSource:
        """The images by number, for what is computed of them once."""
        return ImageSource(self, views)

    def state_dict(self) -> dict[str, int]:
        """How far training has come in this epoch."""
        return self.epoch_batches.state_dict()

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Begin the epoch of `state` where `state` was taken."""
        self.epoch_batches.load_state_dict(state)


class ImageFiles(Dataset[Batch]):
    """Image files that are read, transformed and stacked a whole batch at a time.

    The random numbers of a transform (torch's; torchvision uses no other) depend on the seed, the epoch and the sample
    alone: not on the number of workers or processes, nor on where a run was resumed.

    Args:
        paths: The files.
        labels: Their class codes, int64 `(N,)`.
        transform: From an RGB image to a float tensor `(C, H, W)`.
        seed: Seed of the transform's random numbers.
        decoded: Keeps the images as the first steps of the transform leave them; default: they are decoded each time.
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
        return self.transform.rest(self._led(index))

    def _led(self, index: int) -> Image.Image:
        """An image as the first steps of the transform leave it, in which nothing is random."""
        kept = self.decoded.get(index) if self.decoded is not None else None
        if kept is not None:
            return Image.fromarray(kept.numpy())
        led: Image.Image = self.transform.led(read_image(self.paths[index]))
        if self.decoded is not None:
            self.decoded.put(index, torch.from_numpy(np.array(led)))
        return led


def image_loader(files: ImageFiles, sampler: EpochBatches, num_workers: int) -> ImageBatches:
    """The loader of `files`; workers live as long as the loader, and memory is pinned where there is a GPU.

    Args:
        files: The image files.
        sampler: The order of the samples and the batches.
        num_workers: Number of processes that read; 0 reads in this process.
    """
    return ImageBatches(
        files,
        sampler=sampler,
        batch_size=None,  # the sampler yields whole batches
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator().manual_seed(files.seed),  # else each epoch takes a number from the global one
        worker_init_fn=outlive_sigterm if num_workers else None,
    )


def default_num_workers(trainer: Trainer | None) -> int:
    """The processor cores that fall to this process of `trainer`, 8 at most."""
    return min(max(1, usable_cores() // (trainer.num_devices if trainer else 1)), 8)
