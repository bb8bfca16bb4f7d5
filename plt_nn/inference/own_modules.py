"""Imports the modules of a user's own net from the text that its model carries, if they are not installed."""

import sys
from collections.abc import Mapping, Sequence
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import ModuleType


def make_importable(sources: Mapping[str, str]) -> None:
    """Lets modules be imported from their text, for the life of this process.

    Those that Python finds elsewhere have priority. Importing them runs their code: only for models that are trusted.

    Args:
        sources: Python files by their path, and their text, as `own_sources` has collected them.
    """
    finder = _TextFinder(dict(sources))
    if finder not in sys.meta_path:
        sys.meta_path.append(finder)


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
