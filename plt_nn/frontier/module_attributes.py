"""Attributes of modules: restores them after a trace, notes which ones code reads, compares plain ones."""

from collections.abc import Iterable, Iterator, Set
from contextlib import contextmanager
from threading import get_ident
from typing import Any

from torch import nn

_OF_EVERY_MODULE = frozenset(vars(nn.Module()))
_CONSTANT = "_tensor_constant"  # torch.fx's name for a tensor that a forward pass makes
_PLAIN = (bool, int, float, complex, str, bytes, type(None))

Slot = tuple[int, str]  # the id of a module's attributes, and the name of one
Plain = tuple[dict[str, Any], str, Any]  # the attributes of a module, the name of one, and its value


@contextmanager
def attributes_restored(net: nn.Module) -> Iterator[list[Slot]]:
    """Restores the attributes of all modules, and the content of those that are lists or dictionaries.

    Yields:
        A list to which, at the end, the attributes are added that had changed.
    """
    before = [(vars(module), dict(vars(module)), _contents(vars(module))) for module in net.modules()]
    changed: list[Slot] = []
    try:
        yield changed
    finally:
        for now, known, contents in before:
            for name in now.keys() | known.keys():
                value, earlier = now.get(name, before), known.get(name, before)
                is_equal = value is earlier or (type(value) is type(earlier) and _holds(value, _copy(earlier)))
                if not is_equal and not name.startswith(_CONSTANT):
                    changed.append((id(now), name))
                if name in known:
                    now[name] = earlier
                else:
                    del now[name]
            for name, content in contents.items():
                if not _holds(now[name], content):
                    changed.append((id(now), name))
                    now[name].clear()
                    now[name].extend(content) if isinstance(content, list) else now[name].update(content)


@contextmanager
def attributes_read() -> Iterator[set[Slot]]:
    """Notes which attributes of modules this thread reads.

    For this it replaces a method of every module in the process: only one thread may do so at a time. Other threads
    read as before, and what they read is not noted.

    Yields:
        A set to which they are added.
    """
    read: set[Slot] = set()
    own, thread = nn.Module.__getattribute__, get_ident()

    def noting(module: nn.Module, name: str) -> Any:
        if name != "__dict__" and get_ident() == thread:
            read.add((id(own(module, "__dict__")), name))
        return own(module, name)

    typed: Any = nn.Module
    typed.__getattribute__ = noting
    try:
        yield read
    finally:
        del typed.__getattribute__  # modules inherit it from object


def plain_attributes(modules: Iterable[nn.Module], read: Set[Slot] | None = None) -> tuple[Plain, ...]:
    """The attributes of modules that are numbers, texts and the like, or sequences of these: a trace uses their values.

    Args:
        modules: The modules.
        read: The attributes that matter. Default: all.
    """
    return tuple(
        (own, name, value.copy() if isinstance(value, list) else value)
        for own in map(vars, modules)
        for name, value in own.items()
        if name not in _OF_EVERY_MODULE and _is_plain(value) and (read is None or (id(own), name) in read)
    )


def are_unchanged(attributes: Iterable[Plain], but: Set[Slot] = frozenset()) -> bool:
    """Whether what `plain_attributes` gave still holds, apart from the attributes in `but`."""
    return all(_is_equal(own.get(name, attributes), value) or (id(own), name) in but for own, name, value in attributes)


def _is_equal(one: Any, other: Any) -> bool:
    """Whether a value of any kind equals a plain one."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_is_equal, one, other))
    return isinstance(one, _PLAIN) and (one == other or (one != one and other != other))


def _is_plain(value: object) -> bool:
    return isinstance(value, _PLAIN) or (isinstance(value, list | tuple) and all(isinstance(v, _PLAIN) for v in value))


def _contents(attributes: dict[str, Any]) -> dict[str, Any]:
    """Copies of the lists and dictionaries among a module's attributes."""
    copies = {name: _copy(value) for name, value in attributes.items() if name not in _OF_EVERY_MODULE}
    return {name: copy for name, copy in copies.items() if copy is not None}


def _copy(value: Any) -> Any:
    """A copy of a list or a dictionary; None for anything else."""
    return value.copy() if type(value) in (list, dict) else None


def _holds(value: Any, content: Any) -> bool:
    """Whether a list or a dictionary holds the same objects; comparing by value would add nodes to a trace."""
    if content is None or len(value) != len(content):
        return False
    if isinstance(content, list):
        return all(one is other for one, other in zip(value, content, strict=True))
    return all(value.get(key, content) is one for key, one in content.items())
