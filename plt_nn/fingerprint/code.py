"""Facts about compiled code: a digest of what it does, and the names that it looks up."""

import dis
import hashlib
import sys
from dataclasses import dataclass
from functools import cache
from types import CodeType
from typing import Any

_GLOBALS = frozenset(("LOAD_GLOBAL", "LOAD_NAME"))


@dataclass(frozen=True)
class CodeFacts:
    """Facts about a code object and the code objects inside it.

    Args:
        digest: A digest of what it does, without what it looks up elsewhere.
        globals: The names that it looks up outside of itself, sorted.
        names: All names in it, including those of attributes.
        imports: The modules that it imports, each with the number of dots before its name.
    """

    digest: str
    globals: tuple[str, ...]
    names: frozenset[str]
    imports: tuple[tuple[int, str], ...]


@cache  # a code object never changes, unlike what it looks up
def code_facts(code: CodeType) -> CodeFacts:
    """Reads a loaded code object; the file it came from may have changed since."""
    inner = [code_facts(part) for part in code.co_consts if isinstance(part, CodeType)]
    steps = list(dis.get_instructions(code))
    looked_up = {str(step.argval) for step in steps if step.opname in _GLOBALS}
    imports = {
        (_level(steps[place - 2].argval), str(step.argval))
        for place, step in enumerate(steps)
        if step.opname == "IMPORT_NAME"
    }
    return CodeFacts(
        hashlib.sha256(repr(_facts(code)).encode("utf-8", "surrogatepass")).hexdigest(),
        tuple(sorted(looked_up.union(*(part.globals for part in inner)))),
        frozenset(code.co_names).union(*(part.names for part in inner)),
        tuple(sorted(imports.union(*(part.imports for part in inner)))),
    )


def _level(value: object) -> int:
    return value if isinstance(value, int) else 0


def _facts(code: CodeType) -> list[Any]:
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    table = code.co_exceptiontable.hex()
    return [sys.version_info[:2], code.co_code.hex(), table, counts, names, [_constant(c) for c in code.co_consts]]


def _constant(value: object) -> Any:
    """A constant as text that is the same in every process: without addresses, sets sorted."""
    if isinstance(value, CodeType):
        return code_facts(value).digest
    if isinstance(value, tuple):
        return ["tuple", *(_constant(part) for part in value)]
    return ["set", *sorted(map(repr, value))] if isinstance(value, frozenset) else repr(value)
