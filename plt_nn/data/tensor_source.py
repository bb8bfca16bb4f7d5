"""Our loader of tensors as a source of features (`plt_nn.features.source.Source`)."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from plt_nn.data.batch import Batch
from plt_nn.fingerprint.identity import object_identity

if TYPE_CHECKING:
    from plt_nn.data.tensors import TensorBatches


class TensorSource:
    """Samples that lie in memory, by number.

    Args:
        loader: The loader.
    """

    def __init__(self, loader: "TensorBatches") -> None:
        self._loader = loader
        self._inputs = loader.x, _version(loader.x)

    @property
    def size(self) -> int:
        """Number of samples."""
        return len(self._loader.x)

    @property
    def identity(self) -> str | None:
        """The samples' content."""
        return object_identity(self._loader.x)

    def is_random(self) -> bool:
        """They are what they are."""
        return False

    def look(self, reads: bool = True) -> None:
        """Nothing to be done."""

    @property
    def has_changed(self) -> bool:
        """Whether the inputs are others."""
        tensor, version = self._inputs
        return self._loader.x is not tensor or _version(tensor) != version

    def plan(self) -> Iterator[Sequence[Tensor]]:
        """The samples of the batches that the epoch still holds."""
        sampler = self._loader.sampler
        begin = sampler.begin()
        yield sampler.cut(sampler.order())[begin:]

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

    def forget(self) -> None:
        """Nothing is remembered."""


def _version(tensor: Tensor) -> int:
    """A count of the changes of a tensor in place."""
    return 0 if tensor.is_inference() else tensor._version
