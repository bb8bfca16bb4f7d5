"""The plain attributes of modules: that a trace leaves them as they were, and that they are yet what it saw."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

_OF_EVERY_MODULE = frozenset(vars(nn.Module()))
_CONSTANT = "_tensor_constant"  # which torch.fx calls the tensors that it found in a forward pass
_PLAIN = (bool, int, float, complex, str, bytes, type(None))

Plain = tuple[dict[str, Any], str, Any]  # the attributes of a module, the name of one, and its value


@contextmanager
def attributes_restored(net: nn.Module) -> Iterator[list[str]]:
    """Gives all modules the attributes back that they had.

    Yields:
        A list into which, at the end, the names of those come that had changed: lists and dictionaries too whose
        content had.
    """
    before = [(vars(module), dict(vars(module)), _contents(vars(module))) for module in net.modules()]
    changed: list[str] = []
    try:
        yield changed
    finally:
        for now, known, contents in before:
            for name in now.keys() | known.keys():
                value, kept = now.get(name, before), known.get(name, before)
                if value is not kept:
                    if not name.startswith(_CONSTANT) and not _is_alike(value, kept):
                        changed.append(name)
                    if name in known:
                        now[name] = known[name]
                    else:
                        del now[name]
            for name, content in contents.items():
                if not _is_content(now[name], content):
                    changed.append(name)
                    _refill(now[name], content)


def plain_attributes(modules: Iterable[nn.Module]) -> tuple[Plain, ...]:
    """The attributes of modules that are numbers, texts and such, or sequences of them: a trace has their values."""
    return tuple(
        (vars(module), name, value.copy() if isinstance(value, list) else value)
        for module in modules
        for name, value in vars(module).items()
        if name not in _OF_EVERY_MODULE and _is_plain(value)
    )


def are_the_same(attributes: Iterable[Plain]) -> bool:
    """Whether they have the values yet."""
    return all(own.get(name, attributes) == value for own, name, value in attributes)


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
