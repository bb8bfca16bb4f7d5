"""Batches from tensors that lie in memory, gathered by index instead of sample by sample."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from lightning.pytorch import LightningDataModule
from torch import Tensor

from plt_nn.data.batch import Batch
from plt_nn.data.fingerprints import SplitFingerprint, tensor_fingerprints
from plt_nn.data.sampling import EpochBatches, sampler_for
from plt_nn.errors import DataError
from plt_nn.features.source import Source
from plt_nn.fingerprint.identity import object_identity
from plt_nn.inference.inputs import TableInputs, TensorInputs

# Rows of a table are so small that the cost of a batch hardly depends on its size.
ROWS_AT_ONCE = 4096


class TensorSplit(NamedTuple):
    """The samples of one split.

    Attributes:
        x: The inputs `(N, ...)`.
        y: The targets: class codes, int64 `(N,)`, or values, float32 `(N, 1)`.
    """

    x: Tensor
    y: Tensor


class TensorData(LightningDataModule):
    """Base of the data modules whose samples lie in memory; their `setup` sets `splits`.

    Args:
        batch_size: Samples per process and training step.
        fractions: Split name -> share of the data that is held out for it.
        evaluation_batch_size: Samples per process and step of the other splits; default `batch_size`.

    Attributes:
        splits: The samples by the name of their split.
        class_names: The classes; None for regression.
        source: Where the data come from: a path, or how they are made.
    """

    class_names: list[str] | None = None
    source = ""

    def __init__(
        self, batch_size: int, fractions: Mapping[str, float] = {}, evaluation_batch_size: int | None = None
    ) -> None:
        super().__init__()
        self.batch_size, self.fractions, self._evaluation_batch_size = batch_size, fractions, evaluation_batch_size
        self.splits: dict[str, TensorSplit] = {}

    @property
    def num_classes(self) -> int | None:
        """Number of classes; None for regression."""
        return None if self.class_names is None else len(self.class_names)

    @property
    def class_counts(self) -> dict[str, list[int]] | None:
        """Split name -> number of samples of each class; None for regression."""
        if self.class_names is None:
            return None
        return {name: split.y.bincount(minlength=len(self.class_names)).tolist() for name, split in self.splits.items()}

    @property
    def sizes(self) -> dict[str, int]:
        """Number of samples by split, as `train_samples` and so on."""
        return {f"{name}_samples": len(split.y) for name, split in self.splits.items()}

    def fingerprints(self) -> dict[str, SplitFingerprint]:
        """The content of each split, by its inputs and targets: another encoding or split gives other fingerprints."""
        return tensor_fingerprints(self.splits, self.class_names, self.source)

    def model_inputs(self) -> TableInputs | TensorInputs:
        """The inputs of a net that is trained on these samples."""
        return TensorInputs(tuple(self.splits["train"].x.shape[1:]))

    def train_dataloader(self) -> "TensorBatches":
        """Shuffled training samples."""
        return self._loader("train")

    def val_dataloader(self) -> "TensorBatches | list[TensorBatches]":
        """Validation samples in order; an empty list if nothing is held out."""
        return self._loader("val") if "val" in self.splits else []

    def test_dataloader(self) -> "TensorBatches":
        """Test samples in order."""
        return self._loader("test")

    def predict_dataloader(self) -> "TensorBatches":
        """The test samples in order; without a test split, the validation samples."""
        return self._loader("test" if "test" in self.splits else "val")

    def _loader(self, split: str) -> "TensorBatches":
        if split not in self.splits:
            remedy = f": set {split}_fraction above 0" if split in self.fractions else ""
            raise DataError(f"There is no {split} split (there are: {', '.join(self.splits)}){remedy}.")
        x, y = self.splits[split]
        is_training = split == "train"
        size = self.batch_size if is_training else self._evaluation_batch_size or self.batch_size
        return TensorBatches(x, y, sampler_for(self.trainer, len(x), size, is_training))


class TensorBatches:
    """A loader that gathers a whole epoch by one `index_select` and hands out views of it; in order, it copies nothing.

    Lightning accepts it unchanged: of a loader that is not a `DataLoader` it uses the length, the iterator and
    `sampler.set_epoch`, and it does not replace the sampler. It is resumable in the middle of an epoch.

    Args:
        x: The inputs `(N, ...)`.
        y: The targets `(N, ...)`.
        sampler: The order of the samples and the batches; of size N.
    """

    def __init__(self, x: Tensor, y: Tensor, sampler: EpochBatches) -> None:
        assert len(x) == len(y) == sampler.size
        self.x, self.y, self.sampler = x, y, sampler
        self.batch_sampler = None  # Lightning reads it from every loader with a sampler

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Batch]:
        # A generator, because Lightning asks for the iterator before it tells the sampler the epoch.
        sampler = self.sampler
        begin, order = sampler.begin(), sampler.order()
        batches = zip(
            sampler.cut(_rows(self.x, order, sampler)),
            sampler.cut(_rows(self.y, order, sampler)),
            sampler.cut(order),
            strict=True,
        )
        for batch in list(batches)[begin:]:
            sampler.count_batch()
            yield Batch(*batch)

    def feature_source(self, views: int = 0) -> Source:
        """The samples by number, for features that are computed once; there is one view of each."""
        x, version = self.x, _version(self.x)
        return Source(
            size=len(x),
            plan=self._plan,
            read=lambda batches: (self._batch(rows, self.x.index_select(0, rows)) for rows in batches),
            batch=self._batch,
            identity=lambda: object_identity(self.x),
            has_changed=lambda: self.x is not x or _version(x) != version,
            on_served=self.sampler.count_batch,
        )

    def state_dict(self) -> dict[str, int]:
        """How far training has come in this epoch."""
        return self.sampler.state_dict()

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Begin the epoch of `state` where `state` was taken."""
        self.sampler.load_state_dict(state)

    def _plan(self) -> Iterator[Sequence[Tensor]]:
        """The samples of the remaining batches of the epoch."""
        begin = self.sampler.begin()
        yield self.sampler.cut(self.sampler.order())[begin:]

    def _batch(self, rows: Tensor, inputs: Tensor) -> Batch:
        return Batch(inputs, self.y.index_select(0, rows), rows)


def _rows(data: Tensor, order: Tensor, sampler: EpochBatches) -> Tensor:
    if sampler.shuffle:
        return data.index_select(0, order)
    return data.narrow(0, int(order[0]), len(order))  # an unshuffled share is contiguous


def _version(tensor: Tensor) -> int:
    """A count of the changes of a tensor in place."""
    return 0 if tensor.is_inference() else tensor._version
