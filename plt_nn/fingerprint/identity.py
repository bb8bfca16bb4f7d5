"""Identities of data and objects: texts that differ whenever the thing may differ, the same in every process."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import Subset, TensorDataset

from plt_nn.fingerprint.object_hasher import ObjectHasher

_FOLDERS = ("torchvision.datasets.folder.DatasetFolder", "torchvision.datasets.folder.ImageFolder")


def object_identity(value: object, known: Mapping[int, str] | None = None) -> str | None:
    """A text that differs whenever an object, such as a transform, may hold or do something else.

    It covers the object's attributes, everything that these hold, and the code of the classes and functions in it with
    what that looks up: constants, functions and classes of the modules around it.

    Args:
        value: Any object.
        known: Texts, by id, for objects that are identified elsewhere.

    Returns:
        The text; None for what cannot be identified, such as an open file.
    """
    try:
        return ObjectHasher(known or {})(value)
    except Exception:  # noqa: BLE001 -- NotFingerprintable, or whatever somebody's attribute raises
        return None


def dataset_identity(dataset: object) -> str | None:
    """A text that differs whenever a data set's samples may differ.

    Args:
        dataset: A `TensorDataset`, a folder of torchvision, or a `Subset` of one of these. A subclass may do anything
            with its samples, so it is unknown.

    Returns:
        The text; None for a data set of an unknown class.
    """
    if type(dataset) is TensorDataset:
        # A tensor of a subclass, such as an image of torchvision: its numbers, and its class and attributes.
        return object_identity([(t.as_subclass(Tensor), type(t), vars(t)) for t in dataset.tensors])
    if type(dataset) is Subset:
        inner = dataset_identity(dataset.dataset)
        return inner and f"{inner} {_sha256(str(list(dataset.indices)))}"
    folder: Any = dataset
    if f"{type(folder).__module__}.{type(folder).__qualname__}" not in _FOLDERS:
        return None
    reading = object_identity((folder.transform, folder.target_transform, folder.loader))
    return reading and f"{files_identity([Path(path) for path, _ in folder.samples])} {reading}"


def files_identity(paths: Sequence[Path]) -> str:
    """A digest of files' absolute paths, sizes and modification times."""
    facts = ((path.absolute(), path.stat()) for path in paths)
    return _sha256("\n".join(f"{path} {status.st_size} {status.st_mtime_ns}" for path, status in facts))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()  # file names are bytes
