"""What a function does: its code, what that has captured, and what it looks up in its module."""

import sys
from collections.abc import Callable, Mapping
from importlib.util import resolve_name
from types import BuiltinFunctionType, CellType, FunctionType, ModuleType
from typing import Any

from plt_nn.errors import NotFingerprintable
from plt_nn.fingerprint.code import CodeFacts, code_facts
from plt_nn.fingerprint.packages import is_absent, package_of

Describe = Callable[[Any], str]

# What looks up more than its code tells: by names that are made when it runs, and outside of Python.
_OUT_OF_SIGHT = frozenset(("eval", "exec", "globals", "__import__"))
_OUTSIDE = frozenset(("import_module", "environ", "getenv"))
_DYNAMO = "_torchdynamo_"  # torch's notes on functions for its compiler, addresses among them


def of_function(function: FunctionType, describe: Describe) -> list[object]:
    """The parts of a description of a function; one that wraps another has captured that, or has it as an attribute.

    Args:
        function: Any function in Python.
        describe: Describes what is in it.
    """
    code = function.__code__
    module = str(function.__globals__.get("__name__"))  # its attribute __module__ may be that of a wrapped one
    name, package = f"{module}.{code.co_qualname}", package_of(module)
    held = (*map(_in_cell, function.__closure__ or ()), function.__defaults__, function.__kwdefaults__)
    if package is not None and "<locals>" not in name:  # one that was made by another may have captured anything
        return ["function", name, package]
    own = {key: value for key, value in vars(function).items() if not key.startswith(_DYNAMO)}
    facts = code_facts(code)
    surroundings = _surroundings(facts, function.__globals__, describe) if package is None else [package]
    return ["function", name, facts.digest, [describe(part) for part in (*held, own)], surroundings]


def of_builtin(function: BuiltinFunctionType, describe: Describe) -> list[object]:
    """The parts of a description of a function that is not in Python, and of what it belongs to.

    Args:
        function: Such as `math.floor`, or the `append` of a list.
        describe: Describes what it belongs to.
    """
    owner: Any = function.__self__
    is_bound = owner is not None and not isinstance(owner, ModuleType | type)
    home = type(owner) if is_bound else owner if isinstance(owner, type) else function
    module = home.__module__ or getattr(owner, "__name__", "")
    package = package_of(module)
    if package is None:  # a library of the user's own: nobody can look into it
        raise NotFingerprintable
    return ["builtin", module, function.__qualname__, package, *([describe(owner)] if is_bound else [])]


def _in_cell(cell: CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # nothing was put in yet
        return "empty"


def _surroundings(facts: CodeFacts, scope: Mapping[str, Any], describe: Describe) -> list[object]:
    """What code looks up in the module around it, and in those that it imports."""
    if not _OUT_OF_SIGHT.isdisjoint(facts.globals) or not _OUTSIDE.isdisjoint(facts.names):
        raise NotFingerprintable
    found = [(name, scope[name]) for name in facts.globals if name in scope and name != "__builtins__"]
    imported = [(name, _imported(level, name, scope)) for level, name in facts.imports]
    return [(name, _looked_up(value, facts.names, describe, ())) for name, value in (*found, *imported)]


def _imported(level: int, name: str, scope: Mapping[str, Any]) -> object:
    """A module that a function imports when it runs; its package where that is enough.

    Raises:
        Unknown: If it is the user's own and nobody has imported it yet.
    """
    full = resolve_name("." * level + name, str(scope.get("__package__") or scope.get("__name__")))
    package = package_of(full)
    if package is not None:
        return package
    if is_absent(full):
        return "absent"
    if full not in sys.modules:
        raise NotFingerprintable
    return sys.modules[full]


def _looked_up(value: object, names: frozenset[str], describe: Describe, around: tuple[object, ...]) -> object:
    """What code may see of a value: of a module of the user's own all that has a name which is in the code."""
    if not isinstance(value, ModuleType) or package_of(value.__name__) is not None:
        return describe(value)
    if any(value is other for other in around):
        return value.__name__
    inner = [(name, vars(value)[name]) for name in sorted(names) if name in vars(value)]
    parts = [(name, _looked_up(part, names, describe, (*around, value))) for name, part in inner]
    return [value.__name__, *parts]
