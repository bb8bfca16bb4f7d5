"""The Python files of a user's own net, so that its model can be made where they are not: collected and imported."""

import ast
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

from plt_nn.errors import ConfigError

_MOST = 1 << 20  # characters: a net's code, and no data


def own_sources(recipe: Mapping[str, Any], known: Sequence[str]) -> dict[str, dict[str, str]]:
    """Top-level module -> its files by their path, with their text, for every class in a recipe that is not known.

    Files beside a module that it imports are included, but not what is installed.

    Args:
        recipe: How a net is made.
        known: The top-level modules that are installed wherever the model will be used.

    Raises:
        ConfigError: If a module has no files that could be included.
    """
    paths = sorted(set(_class_paths(recipe)))
    tops = dict.fromkeys(path.partition(".")[0] for path in paths)
    return {top: _files(top) for top in tops if top not in known}


def make_importable(sources: Mapping[str, str]) -> None:
    """Lets modules be imported from their text, for the life of this process.

    Those that Python finds elsewhere have priority. Importing them runs their code: only for models that are trusted.

    Args:
        sources: Python files by their path, and their text, as `own_sources` has collected them.
    """
    finder = _TextFinder(dict(sources))
    if finder not in sys.meta_path:
        sys.meta_path.append(finder)


def _class_paths(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        if isinstance(value.get("class_path"), str):
            yield value["class_path"]
        for inner in value.values():
            yield from _class_paths(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _class_paths(inner)


def _files(top: str) -> dict[str, str]:
    if top == "__main__":
        raise ConfigError("the net's class is in the script that is run; put it into a module that can be imported.")
    file = getattr(sys.modules.get(top) or import_module(top), "__file__", None)
    if file is None or not str(file).endswith(".py"):
        raise ConfigError(f"the net's class is in {top!r}, of which there is no Python file.")
    found = _with_neighbours(Path(file))
    if (size := sum(map(len, found.values()))) > _MOST:
        raise ConfigError(
            f"the net's class is in {top!r}, whose {len(found)} files ({size / 1e6:.1f} MB) are more than is taken "
            "along; put the net into a module of its own."
        )
    return found


def _with_neighbours(file: Path) -> dict[str, str]:
    """The files of a top-level module, and of those beside it that they import."""
    base = (file.parent if file.name == "__init__.py" else file).parent
    found: dict[str, str] = {}
    waiting = [file]
    while waiting:
        for each in _of_module(waiting.pop()):
            name = each.relative_to(base).as_posix()
            if name not in found:
                found[name] = each.read_text("utf-8")
                waiting += _beside(base, _imported(found[name]))
    return found


def _of_module(file: Path) -> list[Path]:
    return sorted(file.parent.rglob("*.py")) if file.name == "__init__.py" else [file]


def _imported(text: str) -> set[str]:
    """The top-level names of what a file imports."""
    try:
        nodes = list(ast.walk(ast.parse(text)))
    except SyntaxError:  # a file of a package that nobody imports
        return set()
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and node.level == 0]
    return {name.partition(".")[0] for name in names} - {""}


def _beside(base: Path, names: set[str]) -> list[Path]:
    """The files of the modules of these names in a folder, unless it is one of installed packages."""
    if base.name in ("site-packages", "dist-packages"):
        return []
    files = [base / each for name in sorted(names) for each in (f"{name}.py", f"{name}/__init__.py")]
    return [file for file in files if file.is_file()]


class _TextFinder(MetaPathFinder, InspectLoader):
    def __init__(self, sources: dict[str, str]) -> None:
        self.sources = sources

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _TextFinder) and other.sources == self.sources

    __hash__ = None  # type: ignore[assignment]

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        file = self._file(fullname)
        return None if file is None else spec_from_loader(fullname, self, origin=file)

    def is_package(self, fullname: str) -> bool:
        return str(self._file(fullname)).endswith("/__init__.py")

    def get_source(self, fullname: str) -> str | None:
        file = self._file(fullname)
        return None if file is None else self.sources[file]

    def _file(self, fullname: str) -> str | None:
        base = fullname.replace(".", "/")
        return next((file for file in (f"{base}/__init__.py", f"{base}.py") if file in self.sources), None)
