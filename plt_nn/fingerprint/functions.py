"""Describes a function by its code, what the code has captured, and what it looks up in its module."""

import sys
from collections.abc import Callable, Mapping
from importlib.util import resolve_name
from types import BuiltinFunctionType, CellType, FunctionType, ModuleType
from typing import Any

from plt_nn.errors import NotFingerprintable
from plt_nn.fingerprint.code import CodeFacts, code_facts
from plt_nn.fingerprint.packages import is_absent, package_of

Describe = Callable[[Any], str]

# These look up names that are made at run time, or values outside of Python: the code does not tell what.
_DYNAMIC = frozenset(("eval", "exec", "globals", "__import__"))
_OUTSIDE = frozenset(("import_module", "environ", "getenv"))
_DYNAMO = "_torchdynamo_"  # attributes that torch's compiler sets on functions; some hold addresses


def of_function(function: FunctionType, describe: Describe) -> list[object]:
    """The parts of a description of a function; a wrapped function is captured by its wrapper or is its attribute."""
    code = function.__code__
    module = str(function.__globals__.get("__name__"))  # __module__ may be that of a wrapped function
    name, package = f"{module}.{code.co_qualname}", package_of(module)
    held = (*map(_in_cell, function.__closure__ or ()), function.__defaults__, function.__kwdefaults__)
    if package is not None and "<locals>" not in name:  # a local function may have captured anything
        return ["function", name, package]
    own = {key: value for key, value in vars(function).items() if not key.startswith(_DYNAMO)}
    facts = code_facts(code)
    surroundings = _surroundings(facts, function.__globals__, describe) if package is None else [package]
    return ["function", name, facts.digest, [describe(part) for part in (*held, own)], surroundings]


def of_builtin(function: BuiltinFunctionType, describe: Describe) -> list[object]:
    """The parts of a description of a function that is not written in Python, and of the object it is bound to.

    Args:
        function: Such as `math.floor`, or the `append` of a list.
        describe: Describes the object it is bound to.

    Raises:
        NotFingerprintable: For a function of the user's own library: nobody can look into it.
    """
    owner: Any = function.__self__
    is_bound = owner is not None and not isinstance(owner, ModuleType | type)
    home = type(owner) if is_bound else owner if isinstance(owner, type) else function
    module = home.__module__ or getattr(owner, "__name__", "")
    package = package_of(module)
    if package is None:
        raise NotFingerprintable
    return ["builtin", module, function.__qualname__, package, *([describe(owner)] if is_bound else [])]


def _in_cell(cell: CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # the cell is still empty
        return "empty"


def _surroundings(facts: CodeFacts, scope: Mapping[str, Any], describe: Describe) -> list[object]:
    """What code looks up in the module around it, and in the modules that it imports."""
    if not _DYNAMIC.isdisjoint(facts.globals) or not _OUTSIDE.isdisjoint(facts.names):
        raise NotFingerprintable
    found = [(name, scope[name]) for name in facts.globals if name in scope and name != "__builtins__"]
    imported = [(name, _imported(level, name, scope)) for level, name in facts.imports]
    return [(name, _looked_up(value, facts.names, describe, ())) for name, value in (*found, *imported)]


def _imported(level: int, name: str, scope: Mapping[str, Any]) -> object:
    """A module that a function imports when it runs, or its package with the version.

    Raises:
        NotFingerprintable: If it is the user's own and not imported yet.
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
    """What code can see of a value: of the user's own module, everything whose name occurs in the code."""
    if not isinstance(value, ModuleType) or package_of(value.__name__) is not None:
        return describe(value)
    if any(value is other for other in around):
        return value.__name__
    inner = [(name, vars(value)[name]) for name in sorted(names) if name in vars(value)]
    parts = [(name, _looked_up(part, names, describe, (*around, value))) for name, part in inner]
    return [value.__name__, *parts]
