"""A plain DataLoader as a source of features."""

import time
from collections.abc import Iterator, Sequence
from types import FunctionType
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from plt_nn.features.plain_loader.dataset_watch import DatasetWatch
from plt_nn.features.plain_loader.inputs import inputs_of, with_inputs
from plt_nn.features.plain_loader.order import Order
from plt_nn.features.plain_loader.probe import Probe, probe
from plt_nn.features.plain_loader.randomness import is_equal
from plt_nn.features.plain_loader.reader import read_apart, reader
from plt_nn.features.plain_loader.sample_checksums import SampleChecksums
from plt_nn.features.plain_loader.target_cache import TargetCache
from plt_nn.features.plain_loader.throttle import Throttle
from plt_nn.features.source import Unnumbered
from plt_nn.fingerprint.identity import dataset_identity, object_identity


def can_be_source(loader: object) -> bool:
    """Whether a loader is a `DataLoader` that makes batches of the numbered samples of a data set."""
    return why_no_source(loader) is None


def why_no_source(loader: object) -> str | None:
    """Why a loader cannot be a source, in words; None if it can."""
    name = type(loader).__name__
    no_numbers = f"those of a {name} cannot be told by number"
    if not isinstance(loader, DataLoader):
        return no_numbers
    if type(loader).__iter__ is not DataLoader.__iter__:
        return f"a {name} makes its batches in a way of its own"
    if hasattr(loader, "state_dict") and hasattr(loader, "load_state_dict"):
        return f"a {name} goes on with an epoch in a way of its own"
    if isinstance(loader.dataset, IterableDataset) or loader.batch_sampler is None:
        return no_numbers
    try:
        dataset: Any = loader.dataset
        return None if len(dataset) and len(loader) else "there are none"
    except Exception:  # noqa: BLE001  # whatever a stranger's data set or sampler raises for having no length
        return "nothing tells how many there are"


def _why_random(found: Probe) -> str:
    if found.is_random:
        return "they are read at random"
    if not found.has_inputs:
        return "their inputs are not one tensor with a row for each sample"
    return "their inputs depend on the batch that they are in" if found.is_mixed else ""


class DataLoaderSource:
    """A DataLoader's samples by number; the inputs are a batch's first entry, or one called `x`, `image`, `input`...

    Args:
        loader: A loader for which `can_be_source` holds.
    """

    def __init__(self, loader: DataLoader[Any]) -> None:
        self._loader = loader
        dataset: Any = loader.dataset
        self._size = len(dataset)
        self._order, self._rest, self._spots = (
            Order(loader, self._size),
            TargetCache(self._size),
            SampleChecksums(self._size),
        )
        self._watch, self._pace = DatasetWatch(dataset), Throttle()
        self._is_told = type(dataset) is TensorDataset  # whether the attributes tell all of the samples
        self._has_changed, self._why_random = False, ""

    @property
    def size(self) -> int:
        """Number of samples."""
        return self._size

    @property
    def identity(self) -> str | None:
        """What the data set is made of, and what makes batches of it."""
        dataset = dataset_identity(self._loader.dataset)
        collate = object_identity(self._loader.collate_fn)
        if dataset is None or collate is None:
            return None
        if not self._watch.has_begun:  # else until the epoch begins somebody may prepare the data set
            self._watch.begin()
        self._is_told |= isinstance(self._loader.collate_fn, FunctionType)  # nobody watches that of another kind
        return f"{dataset} {collate}"

    def is_random(self) -> bool:
        """Whether samples are others the second time, or in a batch with others, or have no inputs that we know."""
        began = time.perf_counter()
        found = probe(self._loader, self._size)
        # A look reads a sixth of these samples; a worker's start costs the same.
        self._pace.expect((time.perf_counter() - began) / (1 if self._loader.num_workers else 6))
        self._watch.ignore(found.changed)
        if found.is_rest_mixed:
            self._rest.never_keep()
        self._why_random = _why_random(found)
        return bool(self._why_random)

    @property
    def why_random(self) -> str:
        """What `is_random` has found, in words; empty if they are always the same."""
        return self._why_random

    def look(self, reads: bool = True) -> None:
        """Looks whether somebody has changed the data set; now and then reads a few samples that were read before."""
        if self._has_changed:
            return
        try:
            is_as_before = self._is_as_before(reads)
        except Exception:  # noqa: BLE001  # of a stranger's data set; whoever reads it as ever will see
            is_as_before = False
        if not is_as_before:
            self._change()

    @property
    def has_changed(self) -> bool:
        """Whether samples were seen to be others."""
        return self._has_changed

    def plan(self) -> Iterator[Sequence[Tensor | Unnumbered]]:
        """The samples of each batch of an epoch; draws the random numbers that the loader would draw."""
        return self._order.portions()

    @property
    def draws_ahead(self) -> bool:
        """With workers the order is drawn at once."""
        return self._order.draws_ahead

    def is_begun(self) -> None:
        """The loader's iterator has drawn a seed for its workers."""
        self._order.is_begun()

    def read(self, batches: Sequence[Tensor | Unnumbered]) -> Iterator[Any]:
        """Reads batches with as many workers as the loader has."""
        if not batches:
            return
        keys = [batch.tolist() if isinstance(batch, Tensor) else batch.keys for batch in batches]
        for rows, batch in zip(batches, reader(self._loader, keys), strict=True):
            if isinstance(rows, Tensor):
                self._remember(rows, batch)
            yield batch

    def read_inputs(self, rows: Tensor) -> Tensor:
        """Reads the inputs of a batch, in this process if the loader has no workers."""
        inputs = inputs_of(read_apart(self._loader, [rows.tolist()])[0])
        assert inputs is not None
        return inputs

    def knows(self, rows: Tensor) -> bool:
        """Whether the rest of these samples has been read."""
        return self._rest.knows(rows)

    def batch(self, rows: Tensor, inputs: Tensor) -> Any:
        """A batch of samples that have been read."""
        return self._rest.batch(rows, inputs)

    def inputs_of(self, batch: Any) -> Tensor | None:
        """The inputs of a batch."""
        return inputs_of(batch)

    def with_inputs(self, batch: Any, inputs: Tensor) -> Any:
        """The batch with other inputs."""
        return with_inputs(batch, inputs)

    def handed_out(self) -> None:
        """Nothing to be done."""

    def forget(self) -> None:
        """Lets go of what is known of samples."""
        self._rest.forget()
        self._spots.forget()
        self._watch.end()

    def _remember(self, rows: Tensor, batch: Any) -> None:
        inputs = inputs_of(batch)
        if inputs is None or len(inputs) != len(rows) or self._has_changed:
            return
        if self._spots.see(rows, inputs):
            self._rest.put(rows, batch)
        else:
            self._change()

    def _change(self) -> None:
        self._has_changed = True
        self.forget()

    def _is_as_before(self, reads: bool) -> bool:
        if reads and not self._watch.has_begun:
            self._watch.begin()
        found = self._watch.changed()
        if found.others or not reads:
            return not found.others
        if found.opened:  # what is read tells whether it was more than a file
            self._watch.begin()
            return self._is_as_read()
        return self._is_told or not self._pace.is_due() or self._is_as_read()

    def _is_as_read(self) -> bool:
        """Whether a few samples are as they were."""
        numbers = self._spots.some()
        if not numbers:
            return True
        with self._pace.doing():
            batch = read_apart(self._loader, [numbers])[0]
        rows, inputs = torch.tensor(numbers), inputs_of(batch)
        if inputs is None or len(inputs) != len(rows) or not self._spots.see(rows, inputs):
            return False
        return not self._rest.knows(rows) or is_equal(self._rest.batch(rows, inputs), batch)
