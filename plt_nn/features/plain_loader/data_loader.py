"""A plain DataLoader as a source of features."""

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from plt_nn.features.inputs import inputs_of
from plt_nn.features.plain_loader.order import Order
from plt_nn.features.plain_loader.reader import read_apart, reader
from plt_nn.features.plain_loader.sample_guard import SampleGuard
from plt_nn.features.plain_loader.target_cache import TargetCache
from plt_nn.features.source import Source, Unnumbered
from plt_nn.fingerprint.identity import dataset_identity, object_identity


def why_no_source(loader: object) -> str | None:
    """Why a loader cannot be a source, in words; None for a `DataLoader` that batches the numbered samples of a set."""
    name = type(loader).__name__
    if not isinstance(loader, DataLoader):
        return f"a {name} does not number its samples"
    if type(loader).__iter__ is not DataLoader.__iter__:
        return f"a {name} makes its batches in a way of its own"
    if hasattr(loader, "state_dict") and hasattr(loader, "load_state_dict"):
        return f"a {name} resumes an epoch in a way of its own"
    if isinstance(loader.dataset, IterableDataset) or loader.batch_sampler is None:
        return f"a {name} over an iterable, or without batches, does not number its samples"
    try:
        dataset: Any = loader.dataset
        return None if len(dataset) and len(loader) else "there are none"
    except Exception:  # noqa: BLE001  # whatever a user's data set or sampler raises if it has no length
        return "their number is unknown"


def data_loader_source(loader: DataLoader[Any]) -> Source:
    """A DataLoader's samples by number; the inputs are a batch's first entry, or one called `x`, `image`, `input`...

    Args:
        loader: A loader for which `why_no_source` knows no reason.
    """
    samples = _Samples(loader)
    return Source(
        size=samples.size,
        plan=samples.order.portions,
        read=samples.read,
        batch=samples.targets.batch,
        read_one=samples.read_one,
        knows=samples.targets.knows,
        identity=samples.identity,
        why_random=samples.guard.why_random,
        look=samples.guard.look,
        has_changed=lambda: samples.guard.has_changed,
        draws_ahead=lambda: samples.order.draws_ahead,
        on_begun=samples.order.on_begun,
        forget=samples.guard.forget,
    )


class _Samples:
    """The samples of a DataLoader: their order, what is remembered of them, and the guard of both."""

    def __init__(self, loader: DataLoader[Any]) -> None:
        dataset: Any = loader.dataset
        self.loader, self.size = loader, len(dataset)
        self.order, self.targets = Order(loader, self.size), TargetCache(self.size)
        self.guard = SampleGuard(loader, self.size, self.targets)

    def identity(self) -> str | None:
        """What the data set is made of, and what makes batches of it."""
        dataset, collate = dataset_identity(self.loader.dataset), object_identity(self.loader.collate_fn)
        if dataset is None or collate is None:
            return None
        self.guard.begin()  # until the epoch begins somebody may prepare the data set
        return f"{dataset} {collate}"

    def read(self, batches: Sequence[Tensor | Unnumbered]) -> Iterator[Any]:
        """Reads batches with as many workers as the loader has."""
        if not batches:
            return
        keys = [batch.tolist() if isinstance(batch, Tensor) else batch.keys for batch in batches]
        for rows, batch in zip(batches, reader(self.loader, keys), strict=True):
            if isinstance(rows, Tensor):
                self.guard.remember(rows, batch)
            yield batch

    def read_one(self, rows: Tensor) -> Tensor:
        """Reads the inputs of a batch, in this process if the loader has no workers."""
        inputs = inputs_of(read_apart(self.loader, [rows.tolist()])[0])
        assert inputs is not None
        return inputs
