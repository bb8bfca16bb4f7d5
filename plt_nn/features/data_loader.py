"""A plain DataLoader as a source of features."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

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
        self._loader, self._is_begun = loader, False
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
        """What the data set is made of: its tensors' content, or its files with their sizes and times."""
        return dataset_identity(self._loader.dataset)

    def is_random(self) -> bool:
        """Whether the data set gives other samples the second time."""
        return is_read_at_random(self._loader.dataset.__getitem__, self.size)

    def plan(self) -> list[Tensor]:
        """The samples of each batch of an epoch; draws the random numbers that the loader would draw."""
        if not self._is_begun:
            torch.empty((), dtype=torch.int64).random_(generator=self._loader.generator)
        self._is_begun = False
        sampler: Any = self._loader.batch_sampler
        return [torch.as_tensor(list(batch), dtype=torch.int64) for batch in sampler]

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


def dataset_identity(dataset: object) -> str | None:
    """A text that is another one whenever a data set's samples may be others; None for one of an unknown kind.

    Args:
        dataset: A `TensorDataset`, a folder of torchvision, or a `Subset` of one.
    """
    if isinstance(dataset, TensorDataset):
        return tensors_identity(dataset.tensors)
    if isinstance(dataset, Subset):
        inner = dataset_identity(dataset.dataset)
        return inner and f"{inner} {_digest(str(list(dataset.indices)))}"
    samples, transform = getattr(dataset, "samples", None), getattr(dataset, "transform", None)
    known = any(f"{kind.__module__}.{kind.__qualname__}" == _FOLDER for kind in type(dataset).__mro__)
    if not known or samples is None or " at 0x" in repr(transform):
        return None
    return f"{files_identity([Path(path) for path, _ in samples])} {transform!r}"


_FOLDER = "torchvision.datasets.folder.DatasetFolder"


def files_identity(paths: Sequence[Path]) -> str:
    """A digest of files' paths, sizes and times of change."""
    facts = ((path.absolute(), path.stat()) for path in paths)
    return _digest("\n".join(f"{path} {status.st_size} {status.st_mtime_ns}" for path, status in facts))


def tensors_identity(tensors: Sequence[Tensor]) -> str:
    """A digest of tensors' content."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


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


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
