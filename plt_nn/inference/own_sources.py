"""The Python files of a user's own net, so that its model can be made where they are not."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from plt_nn.errors import ConfigError

_MOST = 1 << 20  # characters: a net's code, and no data


def own_sources(recipe: Mapping[str, Any], known: Sequence[str]) -> dict[str, dict[str, str]]:
    """Top-level module -> its files by their path, with their text, for every class in a recipe that is not known.

    Args:
        recipe: How a net is made.
        known: The top-level modules that are installed wherever the model will be used.

    Raises:
        ConfigError: If a module has no files that could be taken along.
    """
    paths = sorted(set(_class_paths(recipe)))
    tops = dict.fromkeys(path.partition(".")[0] for path in paths)
    return {top: _files(top) for top in tops if top not in known}


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
    path = Path(file)
    files = sorted(path.parent.rglob("*.py")) if path.name == "__init__.py" else [path]
    base = path.parent.parent if path.name == "__init__.py" else path.parent
    found = {each.relative_to(base).as_posix(): each.read_text("utf-8") for each in files}
    if (size := sum(map(len, found.values()))) > _MOST:
        raise ConfigError(
            f"the net's class is in {top!r}, whose {len(found)} files ({size / 1e6:.1f} MB) are more than is taken "
            "along; put the net into a module of its own."
        )
    return found
