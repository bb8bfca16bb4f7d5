"""What a loader must be able to do for its samples' features to be served in the place of their inputs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor


@dataclass(frozen=True)
class Unnumbered:
    """A batch whose samples have no rows: it is read, and handed out as it is.

    Args:
        keys: What the sampler gave for it.
    """

    keys: Any


class Source(Protocol):
    """A loader whose samples have numbers.

    Each sample has a row in the store of features, or several if it is augmented in as many ways. Whatever reads
    samples may raise what the user's data set raises.
    """

    @property
    def size(self) -> int:
        """Number of rows: samples times views."""

    @property
    def identity(self) -> str | None:
        """A text that is another one whenever a row's inputs may be others; None if nothing is known of that."""

    def is_random(self) -> bool:
        """Whether reading a row twice may give other inputs; found out by reading a few."""

    def look(self, reads: bool = True) -> None:
        """Looks, at the beginning of an epoch, whether rows are still what they were when they were first read.

        Args:
            reads: Whether it may read a few.
        """

    @property
    def has_changed(self) -> bool:
        """Whether it was seen that rows are no longer what they were: their features are none of theirs."""

    def plan(self) -> Iterator[Sequence[Any]]:
        """The rows of each batch that the epoch still holds, int64 `(N,)`, or a batch that is `Unnumbered`.

        Begins the epoch when it is first asked. They come in portions; the next one is asked for when its first batch
        is needed.
        """

    @property
    def draws_ahead(self) -> bool:
        """Whether an iterator of the loader draws, as soon as it is made, an order that `plan` cannot know."""

    def is_begun(self) -> None:
        """Says that an iterator was made of the loader for the epoch that `plan` begins, and that it is not used."""

    def read(self, batches: Sequence[Any]) -> Iterator[Any]:
        """Reads batches of a plan, ahead if it can, and remembers of them all but the inputs."""

    def read_inputs(self, rows: Tensor) -> Tensor:
        """Reads the inputs of one batch, `(N, ...)`."""

    def knows(self, rows: Tensor) -> bool:
        """Whether all but the inputs is known of rows without reading them."""

    def batch(self, rows: Tensor, inputs: Tensor) -> Any:
        """A batch of rows that it knows, with these inputs."""

    def inputs_of(self, batch: Any) -> Tensor | None:
        """The inputs in a batch that was read; None if they are not one tensor with a row for each sample."""

    def with_inputs(self, batch: Any, inputs: Tensor) -> Any:
        """A batch that was read, with other inputs."""

    def handed_out(self) -> None:
        """Called for each batch that is handed out."""

    def forget(self) -> None:
        """Lets go of what it remembers of samples: nothing is served any more."""
