"""Texts that tell data from other data, for what was computed of them to be found again."""

import hashlib
import inspect
import sys
from collections.abc import Sequence
from enum import Enum
from functools import partial
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Subset, TensorDataset

_FOLDERS = ("torchvision.datasets.folder.DatasetFolder", "torchvision.datasets.folder.ImageFolder")
# Packages whose code is told by their version.
_PACKAGES = ("torch", "torchvision", "timm", "PIL", "numpy")


def dataset_identity(dataset: object) -> str | None:
    """A text that is another one whenever a data set's samples may be others; None for one of an unknown kind.

    A subclass may do anything with its samples, so it is of an unknown kind.

    Args:
        dataset: A `TensorDataset`, a folder of torchvision, or a `Subset` of one.
    """
    if type(dataset) is TensorDataset:
        return tensors_identity(dataset.tensors)
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

    It tells the object's attributes, all that these hold, and the code of the classes and functions in it, but not what
    those call. None for what cannot be told, such as a function without a name.

    Args:
        value: Any object.
    """
    try:
        return _digest(_described(value))
    except (_Unknown, OSError, TypeError, RecursionError):  # no source, for example
        return None


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


class _Unknown(Exception):  # noqa: N818  # a finding rather than an error
    """Nothing tells an object from others."""


def _described(value: Any) -> str:
    if value is None or isinstance(value, bool | int | float | complex | str | bytes | Enum | Path):
        return repr(value)
    if isinstance(value, Tensor):
        return tensors_identity([value])
    if isinstance(value, type | FunctionType | BuiltinFunctionType):
        return _code(value)
    if isinstance(value, list | tuple):
        return f"{_code(type(value))} {[_described(part) for part in value]}"
    if isinstance(value, set | frozenset):
        return f"{_code(type(value))} {sorted(map(_described, value))}"
    if isinstance(value, dict):
        return f"{_code(type(value))} {[(_described(key), _described(part)) for key, part in value.items()]}"
    if isinstance(value, partial):
        return f"partial {_described([value.func, value.args, value.keywords])}"
    if isinstance(value, MethodType):
        return f"method {value.__name__} of {_described(value.__self__)}"
    if hasattr(value, "__dict__"):
        return f"{_code(type(value))} {_described(vars(value))}"
    if " at 0x" in repr(value):  # an address says nothing
        raise _Unknown
    return f"{_code(type(value))} {value!r}"


def _code(value: Any) -> str:
    """The code of a class or function: its name and its package's version, or its source."""
    package = value.__module__.partition(".")[0] if value.__module__ else "builtins"
    name = f"{value.__module__}.{value.__qualname__}"
    if "<" in name:  # a function that was made in another one, with who knows what in it
        raise _Unknown
    if package in sys.stdlib_module_names and package != "__main__":
        return name
    if package in _PACKAGES:
        return f"{name} {getattr(sys.modules[package], '__version__', '')}"
    return f"{name} {inspect.getsource(value)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()  # names of files are bytes
