"""A loader whose samples have numbers: what it must be able to do for features to be served in place of inputs."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from plt_nn.features.inputs import inputs_of


@dataclass(frozen=True)
class Unnumbered:
    """A batch whose samples have no rows: it is read, and handed out as it is.

    Args:
        keys: What the sampler gave for it.
    """

    keys: Any


@dataclass(frozen=True)
class Source:
    """A loader whose samples have rows in a store of features: one row each, or several if they are augmented.

    Four members are required; the others have defaults, which are right for samples that never change and are known
    without being read. Whatever reads samples may raise what the user's data set raises.

    Args:
        size: Number of rows: samples times views.
        plan: The rows of each batch that remains in the epoch, int64 `(N,)`, or a batch that is `Unnumbered`. Begins
            the epoch when the first batch is asked for. Batches come in portions; the next portion is asked for when
            its first batch is needed.
        read: Reads batches of a plan, ahead if it can.
        batch: A batch of known rows with these inputs.
        read_one: Reads the inputs of one batch, `(N, ...)`, besides the epoch. Default: by `read`.
        knows: Whether everything but the inputs of some rows is known without reading them.
        identity: A text that differs whenever a row's inputs may differ; None if nothing is known about that.
        why_random: Why reading a row twice may give different inputs; empty if it gives the same. May read a few rows.
        look: Checks, when an epoch begins, whether rows have changed; it may read a few if its argument is True.
        has_changed: Whether rows were seen to have changed: their stored features are wrong.
        draws_ahead: Whether an iterator of the loader draws, as soon as it is made, an order that `plan` cannot know.
        on_begun: Called when an iterator of the loader was made for the epoch that `plan` begins, and is not used.
        on_served: Called for each batch that is handed out.
        forget: Drops what is remembered of samples: nothing is served any more.
    """

    size: int
    plan: Callable[[], Iterator[Sequence[Any]]]
    read: Callable[[Sequence[Any]], Iterator[Any]]
    batch: Callable[[Tensor, Tensor], Any]
    read_one: Callable[[Tensor], Tensor] | None = None
    knows: Callable[[Tensor], bool] = lambda rows: True
    identity: Callable[[], str | None] = lambda: None
    why_random: Callable[[], str] = lambda: ""
    look: Callable[[bool], None] = lambda may_read: None
    has_changed: Callable[[], bool] = lambda: False
    draws_ahead: Callable[[], bool] = lambda: False
    on_begun: Callable[[], None] = lambda: None
    on_served: Callable[[], None] = lambda: None
    forget: Callable[[], None] = lambda: None

    def read_inputs(self, rows: Tensor) -> Tensor:
        """Reads the inputs of one batch, `(N, ...)`."""
        if self.read_one is not None:
            return self.read_one(rows)
        inputs = inputs_of(next(self.read([rows])))
        assert inputs is not None
        return inputs
