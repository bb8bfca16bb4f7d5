"""Batches of images that are read from files as they are needed."""

from collections.abc import Iterator, Sequence
from typing import Any, cast

import PIL
import torch
import torchvision
from torch import Tensor
from torch.utils.data import DataLoader

from plt_nn.data.batch import Batch
from plt_nn.data.image_files import ImageFiles
from plt_nn.data.sampling import Draw, EpochBatches
from plt_nn.data.workers import reading_options
from plt_nn.features.plain_loader.probe import is_read_at_random
from plt_nn.features.source import Source
from plt_nn.fingerprint.identity import files_identity, object_identity


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
            self.epoch_batches.count_batch()
            yield batch

    @property
    def files(self) -> ImageFiles:
        """The image files that are read."""
        return cast("ImageFiles", self.dataset)

    @property
    def epoch_batches(self) -> EpochBatches:
        """The order in which they are read."""
        return cast("EpochBatches", self.sampler)

    def feature_source(self, views: int = 0) -> Source:
        """The images by number, for features that are computed once; `views` as in `image_source`."""
        return image_source(self.files, self.epoch_batches, self.num_workers, views)

    def state_dict(self) -> dict[str, int]:
        """How far training has come in this epoch."""
        return self.epoch_batches.state_dict()

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Begin the epoch of `state` where `state` was taken."""
        self.epoch_batches.load_state_dict(state)


def image_loader(files: ImageFiles, sampler: EpochBatches, num_workers: int) -> ImageBatches:
    """The loader of `files` in the order of `sampler`, read by `num_workers` processes; 0 reads in this process."""
    return ImageBatches(files, sampler=sampler, **reading_options(num_workers, files.seed))


def image_source(files: ImageFiles, sampler: EpochBatches, num_workers: int, views: int = 0) -> Source:
    """Image files by number.

    Args:
        files: The image files.
        sampler: The order in which the loader reads them.
        num_workers: Number of processes that read; 0 reads in this process.
        views: In how many ways each image is augmented: epoch e uses view e modulo views, for which the transform draws
            the random numbers that it would have drawn in that epoch. 0: the transform is not random.
    """
    images, transform = _Images(files, sampler, num_workers, views), files.transform
    return Source(
        size=len(files) * max(views, 1),
        plan=images.plan,
        read=images.read,
        batch=images.batch,
        read_one=images.read_one,
        identity=images.identity,
        why_random=images.why_random,
        has_changed=lambda: files.transform is not transform,
        on_served=sampler.count_batch,
    )


class _Images:
    """Reads images by number; the arguments are those of `image_source`."""

    def __init__(self, files: ImageFiles, sampler: EpochBatches, num_workers: int, views: int) -> None:
        self._files, self._sampler, self._num_workers, self._views = files, sampler, num_workers, views
        self._chosen, self._is_reading = _ChosenDraws(), False
        self._reader = self._new_reader(self._chosen)

    def identity(self) -> str | None:
        """The files' paths, sizes and times, the transform, and the seed if that is random."""
        transform = object_identity(self._files.transform)
        if transform is None:
            return None
        seed = f" seed {self._files.seed}, {self._views} views" if self._views else ""
        versions = f"Pillow {PIL.__version__}, torchvision {torchvision.__version__}"
        return f"{files_identity(self._files.paths)} {transform}{seed} {versions}"

    def why_random(self) -> str:
        """Whether the transform draws random numbers, in words; not if its views are fixed."""
        is_random = not self._views and is_read_at_random(self._files.transformed, len(self._files))
        return "they are read at random" if is_random else ""

    def plan(self) -> Iterator[Sequence[Tensor]]:
        """The rows of the remaining batches of the epoch: the images' numbers, those of each view after the last."""
        draws: list[Draw] = list(self._sampler)
        views, size = max(self._views, 1), len(self._files)
        yield [torch.tensor(draw.indices) + draw.epoch % views * size for draw in draws]

    def read(self, batches: Sequence[Tensor]) -> Iterator[Batch]:
        """Reads batches with the loader's workers."""
        if not batches:
            return
        draws = [self._draw(rows) for rows in batches]
        if self._is_reading:  # inside a loop over the same loader, whose workers are busy
            yield from self._new_reader(draws)
            return
        self._is_reading, self._chosen.draws = True, draws
        try:
            for _, batch in zip(draws, self._reader, strict=True):
                yield batch
        finally:
            self._is_reading = False

    def read_one(self, rows: Tensor) -> Tensor:
        """Reads the images of a batch in this process."""
        x = self._files[self._draw(rows)].x
        assert isinstance(x, Tensor)
        return x

    def batch(self, rows: Tensor, inputs: Tensor) -> Batch:
        """A batch with the labels of its images."""
        index = rows % len(self._files)
        return Batch(inputs, self._files.labels[index], index)

    def _new_reader(self, draws: "Sequence[Draw] | _ChosenDraws") -> DataLoader[Batch]:
        sampler: Any = draws
        return DataLoader(
            self._files,
            sampler=sampler,
            **reading_options(self._num_workers, self._files.seed, keep_workers=draws is self._chosen),
        )

    def _draw(self, rows: Tensor) -> Draw:
        return Draw(int(rows[0]) // len(self._files), (rows % len(self._files)).tolist())


class _ChosenDraws:
    """A sampler that yields the draws that were last assigned to it."""

    def __init__(self) -> None:
        self.draws: list[Draw] = []

    def __iter__(self) -> Iterator[Draw]:
        return iter(self.draws)

    def __len__(self) -> int:
        return len(self.draws)
