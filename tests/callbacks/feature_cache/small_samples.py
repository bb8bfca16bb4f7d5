"""Forty small pictures, data sets of them, and fits on these with features cached or not."""

from collections.abc import Iterator
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch.utils.data import (
    DataLoader,
    Dataset,
    Sampler,
    TensorDataset,
)

from plt_nn import FrozenFeatureCache, Phase
from tests.callbacks.feature_cache.cached_fits import fit

SIZE = 40
X = torch.rand(SIZE, 1, 6, 6, generator=torch.Generator().manual_seed(0))
Y = torch.randint(0, 3, (SIZE,), generator=torch.Generator().manual_seed(1))
HEAD = (Phase("head"),)
VAL = DataLoader(TensorDataset(X[:8], Y[:8]), 8)
CACHED = "Features of the training samples are cached"


def run(features: FrozenFeatureCache | None, train: Any, module: LightningModule | None = None, **more: Any) -> Any:
    arguments: Any = {"max_epochs": 3, "limit_val_batches": 0, "seeds": False, "phases": HEAD}
    return fit(features, module, data=(train, VAL), **(arguments | more))[0]


class Samples(Dataset[Any]):
    """The samples by number."""

    def __len__(self) -> int:
        return SIZE

    def __getitem__(self, number: Any) -> Any:
        return X[number], Y[number]


class Corrupt(Samples):
    """The first one cannot be read."""

    def __getitem__(self, number: int) -> Any:
        if number == 0:
            raise OSError("sample 0 is corrupt")
        return super().__getitem__(number)


class Avoiding(Sampler[int]):
    """Leaves out a sample, and does not say so."""

    def __len__(self) -> int:
        return SIZE - 1

    def __iter__(self) -> Iterator[int]:
        return iter(range(1, SIZE))


def tensors() -> TensorDataset:
    return TensorDataset(X.clone(), Y.clone())
