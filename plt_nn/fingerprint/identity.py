"""Texts that tell data from other data, for what was computed of them to be found again."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import Subset, TensorDataset

from plt_nn.fingerprint.object_hasher import description

_FOLDERS = ("torchvision.datasets.folder.DatasetFolder", "torchvision.datasets.folder.ImageFolder")


def dataset_identity(dataset: object) -> str | None:
    """A text that is another one whenever a data set's samples may be others; None for one of an unknown kind.

    A subclass may do anything with its samples, so it is of an unknown kind.

    Args:
        dataset: A `TensorDataset`, a folder of torchvision, or a `Subset` of one.
    """
    if type(dataset) is TensorDataset:
        # Those of a class of their own, such as images of torchvision: their numbers, and what makes them one.
        return object_identity([(t.as_subclass(Tensor), type(t), vars(t)) for t in dataset.tensors])
    if type(dataset) is Subset:
        inner = dataset_identity(dataset.dataset)
        return inner and f"{inner} {_digest(str(list(dataset.indices)))}"
    folder: Any = dataset
    if f"{type(folder).__module__}.{type(folder).__qualname__}" not in _FOLDERS:
        return None
    reading = object_identity((folder.transform, folder.target_transform, folder.loader))
    return reading and f"{files_identity([Path(path) for path, _ in folder.samples])} {reading}"


def object_identity(value: object) -> str | None:
    """A text that is another one whenever an object, such as a transform, may do something else.

    It tells the object's attributes, all that these hold, and the code of the classes and functions in it with what
    that looks up: the constants, functions and classes of the modules around it. None for what cannot be told, such as
    an open file.

    Args:
        value: Any object.
    """
    return description(value)


def files_identity(paths: Sequence[Path]) -> str:
    """A digest of files' paths, sizes and times of change."""
    facts = ((path.absolute(), path.stat()) for path in paths)
    return _digest("\n".join(f"{path} {status.st_size} {status.st_mtime_ns}" for path, status in facts))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()  # names of files are bytes
