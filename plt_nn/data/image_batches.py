"""Batches of images that are read from files as they are needed."""

from collections.abc import Iterator
from typing import cast

from torch.utils.data import DataLoader

from plt_nn.data.batch import Batch
from plt_nn.data.image_files import ImageFiles
from plt_nn.data.image_source import image_source
from plt_nn.data.sampling import EpochBatches
from plt_nn.data.workers import reading_options
from plt_nn.features.source import Source


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
    """The loader of `files`.

    Args:
        files: The image files.
        sampler: The order of the samples and the batches.
        num_workers: Number of processes that read; 0 reads in this process.
    """
    return ImageBatches(files, sampler=sampler, **reading_options(num_workers, files.seed))
