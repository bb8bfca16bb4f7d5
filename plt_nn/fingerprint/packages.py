"""Which code is identified by the version of its package, and which code must be read."""

import hashlib
import os
import sys
from functools import cache
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path

# Identified by version wherever they are installed: most of their code is not Python.
_COMPILED = frozenset(("torch", "torchvision", "PIL", "numpy"))
_PYTHON = f"Python {sys.version_info.major}.{sys.version_info.minor}"
_STANDARD = Path(os.__file__).parent


def package_of(module: str) -> str | None:
    """The package of a module, by its full name, with its version; None for the user's own code, which has none."""
    package = module.partition(".")[0]
    return None if package == "__main__" else _identified(package, _file_of(module))


def is_absent(module: str) -> bool:
    """Whether a module cannot be imported because its package is not installed."""
    package = module.partition(".")[0]
    return package not in sys.modules and find_spec(package) is None


@cache
def _identified(package: str, file: str | None) -> str | None:
    if package in _COMPILED:
        return f"{package} {import_module(package).__version__}"
    if file is None:
        return _PYTHON if package in sys.stdlib_module_names else None
    path = Path(file)
    if "site-packages" in path.parts or "dist-packages" in path.parts:
        return _distributed(package)
    return _PYTHON if path.is_relative_to(_STANDARD) else None


def _file_of(module: str) -> str | None:
    """The file of a module, or of the nearest package around it that has a file."""
    while module:
        loaded = sys.modules.get(module)
        file = getattr(loaded, "__file__", None) or next(iter(getattr(loaded, "__path__", ())), None)
        if isinstance(file, str) and Path(file).is_absolute():
            return file
        if loaded is None and "." not in module:
            return _file_if_imported(module)
        module = module.rpartition(".")[0]
    return None


def _file_if_imported(package: str) -> str | None:
    """The file of a package that is not imported yet."""
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):  # a module without a spec, made by hand
        return None
    return None if spec is None or not spec.has_location else spec.origin


def _distributed(package: str) -> str | None:
    """The distributions that contain a package, with their versions and a digest of their installed files."""
    names = [package] if _provides(package, package) else _providers().get(package, [])
    found = [metadata.distribution(name) for name in sorted(set(names))]
    return ", ".join(f"{package} {one.version} {_files(one)}" for one in found) or None


def _provides(distribution: str, package: str) -> bool:
    try:
        record = metadata.distribution(distribution).read_text("RECORD") or ""
    except metadata.PackageNotFoundError:
        return False
    return record.startswith(f"{package}/") or f"\n{package}/" in record


@cache
def _providers() -> dict[str, list[str]]:
    return dict(metadata.packages_distributions())  # reads a file of every distribution: tenths of a second


def _files(distribution: metadata.Distribution) -> str:
    """A digest of the installed files: developers reinstall a package without changing its version."""
    record = (distribution.read_text("RECORD") or "").splitlines()
    code = sorted(line for line in record if line.partition(",")[0].endswith(".py") and not line.startswith(".."))
    return hashlib.sha256("\n".join(code).encode()).hexdigest()
