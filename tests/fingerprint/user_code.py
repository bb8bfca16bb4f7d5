"""Modules as a user writes them, each time in another version."""

from types import ModuleType
from typing import Any


def load(source: str, name: str = "user_code") -> Any:
    """Runs source as a module of its own, which no other module can import."""
    module: Any = ModuleType(name)
    exec(compile(source, f"/home/user/{name}.py", "exec"), vars(module))
    return module
