"""The image files that the words of a command line mean, in the given order."""

import glob
from collections.abc import Iterator, Sequence
from pathlib import Path

from torchvision.datasets.folder import IMG_EXTENSIONS

from plt_nn.data.tables import TABLE_SUFFIXES, read_table
from plt_nn.errors import ConfigError, DataError, did_you_mean


def image_paths(words: Sequence[str], column: str | None = None) -> list[str]:
    """The image files that words mean; each word's stand together, those of a folder or a pattern sorted.

    Files that are named, or stand in a table, are taken even if they do not exist: reading them reports that later.

    Args:
        words: Files, folders (searched to any depth), patterns such as `photos/**/*.jpg`, tables.
        column: The column of the tables that holds paths, relative to the table's folder or the working directory.

    Raises:
        ConfigError: If a word means nothing.
    """
    found = [path for word in words for path in _paths(word, column)]
    if not found:
        raise ConfigError(f"There are no images in {', '.join(words)} ({', '.join(IMG_EXTENSIONS)} are looked for).")
    return found


def _paths(word: str, column: str | None) -> Iterator[str]:
    path = Path(word).expanduser()
    if path.is_dir():
        yield from sorted(str(each) for each in path.rglob("*") if _is_image(each))
    elif path.name.lower().endswith(TABLE_SUFFIXES):
        yield from _in_table(path, column)
    elif path.is_file() or not glob.has_magic(word):
        if not path.is_file() and path.suffix.lower() not in IMG_EXTENSIONS:
            near = did_you_mean(path.name, [each.name for each in path.parent.glob("*")][:1000])
            raise ConfigError(f"There is no {word}.{near} Expected image files, folders, patterns, or a CSV file.")
        yield str(path)
    else:
        matches = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207  # which takes no absolute pattern
        if not matches:
            raise ConfigError(f"Nothing fits the pattern {word!r}.")
        yield from (each for each in matches if _is_image(Path(each)))


def _in_table(path: Path, column: str | None) -> Iterator[str]:
    try:
        table = read_table(path)
    except DataError as error:
        raise ConfigError(str(error)) from error
    name = column or next((each for each in ("path", "file", "image", "filename") if each in table), None)
    if name is None or name not in table:
        hint = did_you_mean(str(name), table.columns) if name else f" Its columns: {', '.join(table.columns)}."
        raise ConfigError(f"{path} has no column {name or 'path'!r}; --column names that of the paths.{hint}")
    for value in table[name].fillna("").astype(str):
        beside = path.parent / value
        yield str(beside if beside.is_file() else value)


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMG_EXTENSIONS and not path.name.startswith(".") and path.is_file()
