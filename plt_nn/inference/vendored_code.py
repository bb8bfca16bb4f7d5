"""The part of plt_nn that travels with a model: this package, and what is below it in the import contract."""

from collections.abc import Iterator
from pathlib import Path

LOADER = "plt_nn_model"
_PARTS = ("__init__.py", "__init__.pyi", "errors.py", "text.py", "architectures", "backbones", "inference")


def vendored_files() -> Iterator[tuple[str, Path]]:
    """Where each file goes in a model's `code/`, and where it is."""
    package = Path(__file__).parents[1]
    yield f"{LOADER}.py", package / "inference" / f"{LOADER}.py"
    for part in _PARTS:
        found = sorted((package / part).rglob("*.py")) if (package / part).is_dir() else [package / part]
        for file in found:
            yield f"carried/plt_nn/{file.relative_to(package).as_posix()}", file
