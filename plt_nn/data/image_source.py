"""Our loader of images as a source of features (`plt_nn.features.source.Source`)."""

from collections.abc import Iterator, Sequence
from typing import Any

import PIL
import torch
import torchvision
from torch import Tensor
from torch.utils.data import DataLoader

from plt_nn.data.batch import Batch
from plt_nn.data.image_files import ImageFiles
from plt_nn.data.sampling import Draw, EpochBatches
from plt_nn.data.workers import reading_options
from plt_nn.features.plain_loader.randomness import is_read_at_random
from plt_nn.fingerprint.identity import files_identity, object_identity


class ImageSource:
    """Image files by number.

    Args:
        files: The image files.
        sampler: The order in which the loader reads them.
        num_workers: Number of processes that read; 0 reads in this process.
        views: In how many ways each image is augmented: epoch e uses view e modulo views, for which the transform draws
            the random numbers that it would have drawn in that epoch. 0: the transform is not random.
    """

    def __init__(self, files: ImageFiles, sampler: EpochBatches, num_workers: int, views: int = 0) -> None:
        self._files, self._sampler, self._num_workers, self._views = files, sampler, num_workers, views
        self._transform, self._chosen = files.transform, _ChosenDraws()
        self._reader = self._new_reader(self._chosen)
        self._is_reading = False

    @property
    def size(self) -> int:
        """Images times views."""
        return len(self._files) * max(self._views, 1)

    @property
    def identity(self) -> str | None:
        """The files' paths, sizes and times, the transform, and the seed if that is random."""
        transform = object_identity(self._files.transform)
        if transform is None:
            return None
        seed = f" seed {self._files.seed}, {self._views} views" if self._views else ""
        versions = f"Pillow {PIL.__version__}, torchvision {torchvision.__version__}"
        return f"{files_identity(self._files.paths)} {transform}{seed} {versions}"

    def is_random(self) -> bool:
        """Whether the transform draws random numbers; not if its views are fixed."""
        if self._views:
            return False
        files = self._files
        return is_read_at_random(lambda number: files.transformed(number), len(files))

    def look(self, reads: bool = True) -> None:
        """Nothing to be done."""

    @property
    def has_changed(self) -> bool:
        """Whether there is another transform; files stay what they are."""
        return self._files.transform is not self._transform

    def plan(self) -> Iterator[Sequence[Tensor]]:
        """The rows of the batches that the epoch still holds: the images' numbers, a view's after those of another."""
        draws: list[Draw] = list(self._sampler)
        yield [torch.tensor(draw.indices) + self._view(draw.epoch) * len(self._files) for draw in draws]

    @property
    def draws_ahead(self) -> bool:
        """The order hangs on the seed and the epoch alone."""
        return False

    def is_begun(self) -> None:
        """Makes no difference."""

    def read(self, batches: Sequence[Tensor]) -> Iterator[Batch]:
        """Reads batches with the loader's workers."""
        if not batches:
            return
        draws = [self._draw(rows) for rows in batches]
        if self._is_reading:  # within a loop over the same loader: its workers have enough to do
            yield from self._new_reader(draws)
            return
        self._is_reading, self._chosen.draws = True, draws
        try:
            for _, batch in zip(draws, self._reader, strict=True):
                yield batch
        finally:
            self._is_reading = False

    def read_inputs(self, rows: Tensor) -> Tensor:
        """Reads the images of a batch in this process, which is fit for it whatever has been read."""
        x = self._files[self._draw(rows)].x
        assert isinstance(x, Tensor)
        return x

    def knows(self, rows: Tensor) -> bool:
        """Labels are known."""
        return True

    def batch(self, rows: Tensor, inputs: Tensor) -> Batch:
        """A batch with the labels of its images."""
        index = rows % len(self._files)
        return Batch(inputs, self._files.labels[index], index)

    def inputs_of(self, batch: Batch) -> Tensor | None:
        """The images."""
        return batch.x if isinstance(batch.x, Tensor) else None

    def with_inputs(self, batch: Batch, inputs: Tensor) -> Batch:
        """The batch with other images."""
        return batch._replace(x=inputs)

    def handed_out(self) -> None:
        """Counts the batches of the epoch."""
        self._sampler.done += 1

    def forget(self) -> None:
        """Nothing is remembered."""

    def _new_reader(self, draws: "Sequence[Draw] | _ChosenDraws") -> DataLoader[Batch]:
        sampler: Any = draws
        return DataLoader(
            self._files,
            sampler=sampler,
            **reading_options(self._num_workers, self._files.seed, keep_workers=draws is self._chosen),
        )

    def _view(self, epoch: int) -> int:
        return epoch % self._views if self._views else 0

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
