"""A plain DataLoader as a source of features."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten
from torch.utils.data import DataLoader, Dataset, IterableDataset, SequentialSampler

from plt_nn.features.identity import dataset_identity, object_identity
from plt_nn.features.randomness import is_read_at_random

INPUTS = ("x", "image", "images", "input", "inputs", "pixel_values", "data")


def can_be_source(loader: object) -> bool:
    """Whether a loader is a `DataLoader` that makes batches of the numbered samples of a data set."""
    return (
        isinstance(loader, DataLoader)
        and not isinstance(loader.dataset, IterableDataset)
        and loader.batch_sampler is not None
    )


class DataLoaderSource:
    """A DataLoader's samples by number; the inputs are a batch's first entry, or one called `x`, `image`, `input`...

    Args:
        loader: A loader for which `can_be_source` holds.
    """

    def __init__(self, loader: DataLoader[Any]) -> None:
        self._loader, self._is_begun, self._has_begun = loader, False, False
        self._chosen = _Chosen()
        self._inner = _inner(loader, self._chosen)
        self._rest: list[Tensor] | None = None  # all but the inputs, of all samples
        self._spec: TreeSpec | None = None
        self._place = 0  # of the inputs among the tensors of a batch
        self._known = torch.zeros(self.size, dtype=torch.bool)

    @property
    def size(self) -> int:
        """Number of samples."""
        dataset: Any = self._loader.dataset
        return len(dataset)

    @property
    def identity(self) -> str | None:
        """What the data set is made of, and what makes batches of it."""
        dataset = dataset_identity(self._loader.dataset)
        collate = object_identity(self._loader.collate_fn)
        return f"{dataset} {collate}" if dataset is not None and collate is not None else None

    def is_random(self) -> bool:
        """Whether samples are others the second time, or when they are in a batch with others."""
        return is_read_at_random(self._batch_of, self.size) or self._depends_on_batch()

    def plan(self) -> list[Tensor]:
        """The samples of each batch of an epoch; draws the random numbers that the loader would draw."""
        # Workers that live as long as the loader get their seed once.
        if not (self._is_begun or (self._has_begun and self._loader.persistent_workers)):
            torch.empty((), dtype=torch.int64).random_(generator=self._loader.generator)
        self._is_begun, self._has_begun = False, True
        sampler: Any = self._loader.batch_sampler
        return [torch.as_tensor(list(batch), dtype=torch.int64) for batch in sampler]

    @property
    def draws_ahead(self) -> bool:
        """With workers the order is drawn at once."""
        return self._loader.num_workers > 0 and not isinstance(self._loader.sampler, SequentialSampler)

    def is_begun(self) -> None:
        """The loader's iterator has drawn a seed for its workers."""
        self._is_begun = True

    def read(self, batches: Sequence[Tensor]) -> Iterator[Any]:
        """Reads batches with as many workers as the loader has."""
        if not batches:
            return
        self._chosen.batches = list(batches)
        for rows, batch in zip(batches, self._inner, strict=True):
            self._remember(rows, batch)
            yield batch

    def read_inputs(self, rows: Tensor) -> Tensor:
        """Reads the inputs of a batch in this process."""
        inputs = self.inputs_of(self._inner.dataset[rows])
        assert inputs is not None
        return inputs

    def knows(self, rows: Tensor) -> bool:
        """Whether the rest of these samples has been read."""
        return bool(self._known[rows].all())

    def batch(self, rows: Tensor, inputs: Tensor) -> Any:
        """A batch of samples that have been read."""
        assert self._rest is not None and self._spec is not None  # noqa: PT018
        leaves = [tensor.index_select(0, rows) for tensor in self._rest]
        leaves.insert(self._place, inputs)
        return tree_unflatten(leaves, self._spec)

    def inputs_of(self, batch: Any) -> Tensor | None:
        """The inputs of a batch."""
        found = batch
        if isinstance(batch, Sequence) and batch:
            found = batch[0]
        elif isinstance(batch, dict):
            found = next((batch[name] for name in INPUTS if name in batch), None)
        return found if isinstance(found, Tensor) and found.ndim > 0 else None

    def with_inputs(self, batch: Any, inputs: Tensor) -> Any:
        """The batch with other inputs."""
        leaves, spec = tree_flatten(batch)
        own = self.inputs_of(batch)
        return tree_unflatten([inputs if leaf is own else leaf for leaf in leaves], spec)

    def handed_out(self) -> None:
        """Nothing to be done."""

    def _batch_of(self, *numbers: int) -> Any:
        return self._inner.dataset[torch.tensor(numbers)]

    def _depends_on_batch(self) -> bool:
        """So it is where samples are padded to the longest of a batch, or mixed."""
        numbers = sorted({0, self.size // 2, self.size - 1})
        together = self.inputs_of(self._batch_of(*numbers))
        alone = [self.inputs_of(self._batch_of(number)) for number in numbers]
        found = [one for one in alone if one is not None]
        if together is None or len(found) < len(numbers):
            return False  # inputs that cannot be kept
        same_shape = all(one.shape[1:] == together.shape[1:] for one in found)
        return not same_shape or not torch.equal(torch.cat(found), together)

    def _remember(self, rows: Tensor, batch: Any) -> None:
        leaves, spec = tree_flatten(batch)
        inputs = self.inputs_of(batch)
        rest = [leaf for leaf in leaves if leaf is not inputs]
        if inputs is None or not all(isinstance(leaf, Tensor) and leaf.shape[:1] == rows.shape for leaf in rest):
            return  # it will have to be read each time
        if self._rest is None:
            self._spec, self._place = spec, next(at for at, leaf in enumerate(leaves) if leaf is inputs)
            self._rest = [leaf.new_empty((self.size, *leaf.shape[1:])) for leaf in rest]
        if [leaf.shape[1:] for leaf in rest] == [tensor.shape[1:] for tensor in self._rest]:
            for tensor, leaf in zip(self._rest, rest, strict=True):
                tensor[rows] = leaf
            self._known[rows] = True


class _Chosen:
    """A sampler that gives the batches that it was last told."""

    def __init__(self) -> None:
        self.batches: list[Tensor] = []

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class _Batches(Dataset[Any]):
    """Gives a whole batch for the numbers of its samples."""

    def __init__(self, dataset: Any, collate: Any) -> None:
        self._dataset, self._collate = dataset, collate

    def __getitem__(self, rows: Tensor) -> Any:
        numbers = rows.tolist()
        together = getattr(self._dataset, "__getitems__", None)
        return self._collate(together(numbers) if together else [self._dataset[number] for number in numbers])


def _inner(loader: DataLoader[Any], chosen: _Chosen) -> DataLoader[Any]:
    """A loader that reads chosen batches of a data set just as `loader` does."""
    workers: dict[str, Any] = {}
    if loader.num_workers:
        workers = {"prefetch_factor": loader.prefetch_factor, "multiprocessing_context": loader.multiprocessing_context}
    sampler: Any = chosen
    return DataLoader(
        _Batches(loader.dataset, loader.collate_fn),
        sampler=sampler,
        batch_size=None,
        num_workers=loader.num_workers,
        pin_memory=loader.pin_memory,
        timeout=loader.timeout,
        worker_init_fn=loader.worker_init_fn,
        generator=torch.Generator().manual_seed(0),  # not the global one, from which the training draws
        **workers,
    )
