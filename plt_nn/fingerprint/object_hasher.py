"""Hashes any object by what it holds and does: without addresses or the order of sets, the same in every process."""

import functools
import hashlib
import logging
import threading
import types
import weakref
from collections.abc import Mapping
from enum import Enum
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from plt_nn.errors import NotFingerprintable
from plt_nn.fingerprint.classes import of_attributes, of_class, of_instance
from plt_nn.fingerprint.code import code_facts
from plt_nn.fingerprint.digest import array_digest, tensor_digest
from plt_nn.fingerprint.functions import of_builtin, of_function
from plt_nn.fingerprint.packages import package_of

_PLAIN = (bool, int, float, complex, str, bytes, range, type(None), type(Ellipsis), type(NotImplemented))
_OF_TORCH = (torch.dtype, torch.device, torch.layout, torch.memory_format)
_BY_REPR = frozenset((*_PLAIN, *_OF_TORCH))
_BARE = (list, tuple, set, frozenset, dict)  # classes whose objects have no attributes
_TENSORS = (Tensor, nn.Parameter, nn.Buffer)
_IN_CLASSES = (types.MemberDescriptorType, types.GetSetDescriptorType, types.WrapperDescriptorType)
_METHODS = (types.MethodDescriptorType, types.ClassMethodDescriptorType)
# They do not affect what is computed; a graph's code is also that of its module's class.
_IGNORED = (logging.Logger, type(threading.Lock()), type(threading.RLock()), fx.Graph)
_OPERATORS = frozenset(("aten", "prim", "prims", "torchvision"))


class ObjectHasher:
    """Hashes objects; an object that occurs several times is hashed once.

    Args:
        known: Texts, by id, for objects that are identified elsewhere; these must live longer than this.
    """

    def __init__(self, known: Mapping[int, str]) -> None:
        self._texts = dict(known)
        self._held: list[object] = []  # no other object may get the id of a hashed one
        self._open: list[int] = []  # objects that are being hashed, the outermost first

    def __call__(self, value: Any) -> str:
        """A text that differs whenever the object may hold or do something else.

        Raises:
            NotFingerprintable: If nothing distinguishes the object from others of its class.
        """
        if type(value) in _BY_REPR:
            return f"{type(value).__name__} {value!r}"
        key = id(value)
        if key in self._texts:
            return self._texts[key]
        if key in self._open:  # the object holds itself
            return f"again {self._open.index(key)} {_name(value)}"
        self._open.append(key)
        try:
            text = hashlib.sha256(repr(self._parts(value)).encode("utf-8", "surrogatepass")).hexdigest()
        finally:
            self._open.pop()
        self._texts[key] = text
        self._held.append(value)
        return text

    def _parts(self, value: Any) -> list[object]:
        for find in (self._data, self._container, self._callable, self._part_of_code):
            parts = find(value)
            if parts is not None:
                return parts
        return of_instance(value, self)

    def _data(self, value: Any) -> list[object] | None:
        if type(value) in _TENSORS:
            return ["tensor", tensor_digest(value)]
        if isinstance(value, Tensor):  # of a subclass, which may hold anything
            raise NotFingerprintable
        if type(value) is np.ndarray:
            return ["array", array_digest(value)]
        if isinstance(value, Enum):
            return ["enum", self(type(value)), value.name, self(value.value)]
        if isinstance(value, PurePath):
            return ["path", repr(value)]
        if isinstance(value, _IGNORED):
            return [type(value).__name__]
        return None

    def _container(self, value: Any) -> list[object] | None:
        if isinstance(value, list | tuple):
            parts = [self(part) for part in value]
        elif isinstance(value, set | frozenset):
            parts = sorted(self(part) for part in sorted(value, key=_name))
        elif isinstance(value, dict | types.MappingProxyType):
            parts = [self(part) for pair in value.items() for part in pair]
        elif isinstance(value, slice):
            return ["slice", self(value.start), self(value.stop), self(value.step)]
        else:
            return None
        if type(value) in _BARE:
            return [type(value).__name__, parts]
        factory = getattr(value, "default_factory", None)
        return [self(type(value)), parts, of_attributes(value, self), self(factory)]

    def _callable(self, value: Any) -> list[object] | None:
        if isinstance(value, types.FunctionType):
            return of_function(value, self)
        if isinstance(value, types.BuiltinFunctionType):
            return of_builtin(value, self)
        if isinstance(value, type):
            return of_class(value, self)
        if isinstance(value, types.MethodType):
            return ["method", self(value.__func__), self(value.__self__)]
        if isinstance(value, functools.partial | functools.partialmethod):
            inner = (value.func, value.args, value.keywords, vars(value))
            return [self(type(value)), *(self(part) for part in inner)]
        if isinstance(value, functools._lru_cache_wrapper):  # without the results it holds
            return ["cache", self(value.__wrapped__)]
        if isinstance(value, torch._ops.OpOverload | torch._ops.OpOverloadPacket):
            return _operator(str(value))
        return None

    def _part_of_code(self, value: Any) -> list[object] | None:
        """Objects that occur in the bodies of classes and in the scopes of functions."""
        if isinstance(value, staticmethod | classmethod):
            return [type(value).__name__, self(value.__func__)]
        if type(value) is property:
            return ["property", self(value.fget), self(value.fset), self(value.fdel)]
        if isinstance(value, functools.cached_property):
            return ["cached property", self(value.func)]
        if isinstance(value, (*_IN_CLASSES, *_METHODS)):
            home = value.__objclass__
            return [type(value).__name__, home.__module__, package_of(home.__module__), value.__qualname__]
        if isinstance(value, types.ModuleType):
            return ["module", _module(value)]
        if isinstance(value, types.CodeType):
            return ["code", code_facts(value).digest]
        if isinstance(value, weakref.ReferenceType):
            return ["reference", self(value())]
        if type(value).__module__ == "typing" or isinstance(value, types.GenericAlias | types.UnionType):
            return ["type", repr(value)]  # used in annotations only
        return None


def _name(value: Any) -> str:
    """A name that distinguishes most objects without looking into them."""
    plain = repr(value) if type(value) in _BY_REPR else getattr(value, "__qualname__", "")
    return f"{type(value).__qualname__} {plain}"


def _module(module: types.ModuleType) -> str:
    """The text of a package's module.

    Raises:
        NotFingerprintable: For a module of the user's, which may hold anything.
    """
    package = package_of(module.__name__)
    if package is None:
        raise NotFingerprintable
    return f"{module.__name__} {package}"


def _operator(name: str) -> list[object]:
    """The parts of an operator of torch.

    Raises:
        NotFingerprintable: For an operator of somebody else, which may do anything.
    """
    if name.partition(".")[0] not in _OPERATORS:
        raise NotFingerprintable
    return ["operator", name, torch.__version__]
