"""The plain attributes of modules: that a trace leaves them as they were, and that they are yet what it saw."""

from collections.abc import Iterable, Iterator, Set
from contextlib import contextmanager
from typing import Any

from torch import nn

_OF_EVERY_MODULE = frozenset(vars(nn.Module()))
_CONSTANT = "_tensor_constant"  # which torch.fx calls the tensors that it found in a forward pass
_PLAIN = (bool, int, float, complex, str, bytes, type(None))

Slot = tuple[int, str]  # the id of a module's attributes, and the name of one
Plain = tuple[dict[str, Any], str, Any]  # the attributes of a module, the name of one, and its value


@contextmanager
def attributes_restored(net: nn.Module) -> Iterator[list[Slot]]:
    """Gives all modules the attributes back that they had.

    Yields:
        A list into which, at the end, those come that had changed: lists and dictionaries too whose content had.
    """
    before = [(vars(module), dict(vars(module)), _contents(vars(module))) for module in net.modules()]
    changed: list[Slot] = []
    try:
        yield changed
    finally:
        for now, known, contents in before:
            for name in now.keys() | known.keys():
                value, kept = now.get(name, before), known.get(name, before)
                if value is not kept:
                    if not name.startswith(_CONSTANT) and not _is_alike(value, kept):
                        changed.append((id(now), name))
                    if name in known:
                        now[name] = known[name]
                    else:
                        del now[name]
            for name, content in contents.items():
                if not _is_content(now[name], content):
                    changed.append((id(now), name))
                    _refill(now[name], content)


@contextmanager
def attributes_read() -> Iterator[set[Slot]]:
    """Notes which attributes of modules are read, those that it has noted included in the set that it yields."""
    read: set[Slot] = set()
    own = nn.Module.__getattribute__

    def noting(module: nn.Module, name: str) -> Any:
        if name != "__dict__":
            read.add((id(own(module, "__dict__")), name))
        return own(module, name)

    typed: Any = nn.Module
    typed.__getattribute__ = noting
    try:
        yield read
    finally:
        del typed.__getattribute__  # it was that of every object


def plain_attributes(modules: Iterable[nn.Module], read: Set[Slot] | None = None) -> tuple[Plain, ...]:
    """The attributes of modules that are numbers, texts and such, or sequences of them: a trace has their values.

    Args:
        modules: The modules.
        read: Those that count; all of them by default.
    """
    return tuple(
        (own, name, value.copy() if isinstance(value, list) else value)
        for own in map(vars, modules)
        for name, value in own.items()
        if name not in _OF_EVERY_MODULE and _is_plain(value) and (read is None or (id(own), name) in read)
    )


def are_the_same(attributes: Iterable[Plain], but: Set[Slot] = frozenset()) -> bool:
    """Whether they have the values yet.

    Args:
        attributes: What `plain_attributes` gave.
        but: Those that may have changed.
    """
    return all(_is_equal(own.get(name, attributes), value) or (id(own), name) in but for own, name, value in attributes)


def _is_equal(one: Any, other: Any) -> bool:
    """Whether two plain values are the same; what is compared with one may be anything."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_is_equal, one, other))
    return isinstance(one, _PLAIN) and (one == other or (one != one and other != other))


def _is_plain(value: object) -> bool:
    return isinstance(value, _PLAIN) or (isinstance(value, list | tuple) and all(isinstance(v, _PLAIN) for v in value))


def _contents(attributes: dict[str, Any]) -> dict[str, Any]:
    """Copies of the lists and dictionaries among a module's own attributes."""
    own = {name: value for name, value in attributes.items() if name not in _OF_EVERY_MODULE}
    return {name: value.copy() for name, value in own.items() if type(value) in (list, dict)}


def _is_alike(one: Any, other: Any) -> bool:
    """Whether two lists or dictionaries hold the same, such as a cache that was emptied."""
    return type(one) in (list, dict) and type(one) is type(other) and _is_content(one, other)


def _is_content(value: Any, content: Any) -> bool:
    """Whether the same objects are in it: they are not compared, for what is compared with a symbol is one."""
    if len(value) != len(content):
        return False
    if isinstance(content, list):
        return all(one is other for one, other in zip(value, content, strict=True))
    return all(value.get(key, content) is one for key, one in content.items())


def _refill(value: Any, content: Any) -> None:
    value.clear()
    if isinstance(content, list):
        value.extend(content)
    else:
        value.update(content)
