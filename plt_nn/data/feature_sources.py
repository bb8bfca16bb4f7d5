"""Our own loaders as sources of features (`plt_nn.features.source.Source`)."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import PIL
import torch
import torchvision
from torch import Tensor
from torch.utils.data import DataLoader

from plt_nn.data.batch import Batch
from plt_nn.data.sampling import Draw
from plt_nn.features.identity import files_identity, object_identity, tensors_identity
from plt_nn.features.randomness import is_read_at_random

if TYPE_CHECKING:
    from plt_nn.data.image_batches import ImageBatches
    from plt_nn.data.tensors import TensorBatches


class ImageSource:
    """Images in files by number.

    Args:
        loader: The loader.
        views: In how many ways each image is augmented: epoch e uses view e modulo views, for which the transform draws
            the random numbers that it would have drawn in that epoch. 0: the transform is not random.
    """

    def __init__(self, loader: "ImageBatches", views: int = 0) -> None:
        self._files, self._sampler, self._views = loader.files, loader.epoch_batches, views
        self._chosen: list[Draw] = []
        self._reader = DataLoader(
            self._files,
            sampler=_Chosen(self._chosen),
            batch_size=None,
            num_workers=loader.num_workers,
            persistent_workers=loader.num_workers > 0,
            pin_memory=loader.pin_memory,
            generator=torch.Generator().manual_seed(self._files.seed),
            worker_init_fn=loader.worker_init_fn,
        )

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

    def plan(self) -> list[Tensor]:
        """The rows of the batches that the epoch still holds: the images' numbers, a view's after those of another."""
        draws: list[Draw] = list(self._sampler)
        return [torch.tensor(draw.indices) + self._view(draw.epoch) * len(self._files) for draw in draws]

    @property
    def draws_ahead(self) -> bool:
        """The order hangs on the seed and the epoch alone."""
        return False

    def is_begun(self) -> None:
        """Makes no difference."""

    def read(self, batches: Sequence[Tensor]) -> Iterator[Batch]:
        """Reads batches with the loader's workers."""
        if batches:
            self._chosen[:] = [self._draw(rows) for rows in batches]
            yield from self._reader

    def read_inputs(self, rows: Tensor) -> Tensor:
        """Reads the images of a batch in this process."""
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

    def _view(self, epoch: int) -> int:
        return epoch % self._views if self._views else 0

    def _draw(self, rows: Tensor) -> Draw:
        return Draw(int(rows[0]) // len(self._files), (rows % len(self._files)).tolist())


class TensorSource:
    """Samples that lie in memory, by number.

    Args:
        loader: The loader.
    """

    def __init__(self, loader: "TensorBatches") -> None:
        self._loader = loader

    @property
    def size(self) -> int:
        """Number of samples."""
        return len(self._loader.x)

    @property
    def identity(self) -> str | None:
        """The samples' content."""
        return tensors_identity([self._loader.x])

    def is_random(self) -> bool:
        """They are what they are."""
        return False

    def plan(self) -> list[Tensor]:
        """The samples of the batches that the epoch still holds."""
        sampler = self._loader.sampler
        begin = sampler.begin()
        return list(sampler.cut(sampler.order()))[begin:]

    @property
    def draws_ahead(self) -> bool:
        """The order hangs on the seed and the epoch alone."""
        return False

    def is_begun(self) -> None:
        """Makes no difference."""

    def read(self, batches: Sequence[Tensor]) -> Iterator[Batch]:
        """Gathers batches."""
        for rows in batches:
            yield self.batch(rows, self.read_inputs(rows))

    def read_inputs(self, rows: Tensor) -> Tensor:
        """Gathers the inputs of a batch."""
        return self._loader.x.index_select(0, rows)

    def knows(self, rows: Tensor) -> bool:
        """All is known."""
        return True

    def batch(self, rows: Tensor, inputs: Tensor) -> Batch:
        """A batch with its targets."""
        return Batch(inputs, self._loader.y.index_select(0, rows), rows)

    def inputs_of(self, batch: Batch) -> Tensor | None:
        """The inputs."""
        return batch.x if isinstance(batch.x, Tensor) else None

    def with_inputs(self, batch: Batch, inputs: Tensor) -> Batch:
        """The batch with other inputs."""
        return batch._replace(x=inputs)

    def handed_out(self) -> None:
        """Counts the batches of the epoch."""
        self._loader.sampler.done += 1


class _Chosen:
    """A sampler that gives what a list holds when an epoch begins."""

    def __init__(self, draws: list[Draw]) -> None:
        self._draws = draws

    def __iter__(self) -> Iterator[Draw]:
        return iter(self._draws)

    def __len__(self) -> int:
        return len(self._draws)
