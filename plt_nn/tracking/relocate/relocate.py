"""A store whose folder was moved: MLflow keeps the artifacts' places absolute, so they are mended."""

import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import psutil
from filelock import Timeout

from plt_nn.errors import ConfigError, TrackingError
from plt_nn.tracking.relocate.rebase import moved, moved_inside, path_of
from plt_nn.tracking.store import Store

_PATIENCE = 10.0  # seconds to wait for somebody who writes


class _Column(NamedTuple):
    """Where MLflow keeps places; `json` if they may stand inside a value."""

    kind: str
    table: str
    column: str
    json: bool = False


# All of mlflow 3.17 (store/*/dbmodels/models.py). Params and spans tell what was; they stay.
_COLUMNS = (
    _Column("experiments", "experiments", "artifact_location"),
    _Column("runs", "runs", "artifact_uri"),
    _Column("logged models", "logged_models", "artifact_location"),
    _Column("model versions", "model_versions", "source"),
    _Column("model versions", "model_versions", "storage_location"),
    _Column("traces", "trace_tags", "value", json=True),
    _Column("traces", "trace_request_metadata", "value", json=True),
    _Column("datasets", "datasets", "dataset_source", json=True),
    _Column("tags", "tags", "value", json=True),
    _Column("tags", "experiment_tags", "value", json=True),
    _Column("tags", "logged_model_tags", "tag_value", json=True),
    _Column("tags", "registered_model_tags", "value", json=True),
    _Column("tags", "model_version_tags", "value", json=True),
)


@dataclass(frozen=True)
class Relocated:
    """What was done.

    Args:
        roots: The folders whose name was replaced.
        counts: How many values were rewritten, by kind.
        left: Places of experiments that lie in other stores and seem to be meant.
        backup: The copy of the database as it was; None if nothing was to do.
    """

    roots: tuple[Path, ...]
    counts: dict[str, int]
    left: tuple[str, ...]
    backup: Path | None


def relocate(store: Store, named: Sequence[Path] = ()) -> Relocated:
    """Rewrites the places of artifacts that begin with a folder in which the store lay before.

    These folders are found by the experiments' places, as `old_roots` says.

    Args:
        store: The store where it is now.
        named: More such folders, absolute.

    Raises:
        ConfigError: If there is no database.
        TrackingError: If another process has it open.
    """
    root = _root(store)
    database = root / "mlflow.db"
    if not database.is_file():
        raise ConfigError(f"there are no runs in {root}; --store names another folder.")
    with _alone(store, database) as connection:
        found, left = old_roots(_experiments(connection), root)
        roots = tuple(dict.fromkeys([*named, *found]))
        found_rows = {column: _changes(connection, column, roots, root) for column in _COLUMNS}
        changes = {column: rows for column, rows in found_rows.items() if rows}
        if not changes:
            return Relocated((), {}, left, None)
        backup = _backup(database)
        counts: Counter[str] = Counter()
        for column, rows in changes.items():
            counts[column.kind] += len(rows)
            connection.executemany(f"UPDATE {column.table} SET {column.column} = ? WHERE rowid = ?", rows)  # noqa: S608
    still = tuple(place for place in left if moved(place, roots, root) == place)
    return Relocated(roots, dict(counts), still, backup)


def stale_roots(store: Store) -> tuple[Path, ...]:
    """The folders that `relocate` would find; reads alone."""
    root = _root(store)
    with closing(sqlite3.connect(f"{(root / 'mlflow.db').as_uri()}?mode=ro", uri=True)) as connection:
        return old_roots(_experiments(connection), root)[0]


def old_roots(experiments: Sequence[tuple[str, str, str]], root: Path) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """The folders in which a store lay before, and the places that are left alone.

    An experiment's place ends in `/artifacts/<experiment>`; what stands before is where the store was. It counts if the
    artifacts are here now, or if they are gone from there and nothing else shows that the store has always been here.
    Otherwise the place seems to be meant, another disk for instance.

    Args:
        experiments: Their ids, names and places.
        root: Where the store is now.
    """
    places: dict[Path, list[str]] = {}
    settled = False
    for number, name, place in experiments:
        folder = _root_of(place, name, number)
        if folder is not None and (folder == root or _same(folder, root)):
            settled = settled or number != "0"  # MLflow's own experiment, made with the database
        elif folder is not None:
            places.setdefault(folder, []).append(place)
    old = tuple(folder for folder, theirs in places.items() if _has_come(theirs, folder, root, settled))
    return old, tuple(place for folder in places if folder not in old for place in places[folder])


def _has_come(places: Sequence[str], folder: Path, root: Path, settled: bool) -> bool:
    there = [str(path_of(place)) for place in places]
    if any(Path(moved(place, [folder], root)).exists() for place in there):
        return True
    return not settled and not any(Path(place).exists() for place in there)


def _root(store: Store) -> Path:
    return store.root.resolve() if ".." in store.root.parts else store.root


def _root_of(place: str, name: str, number: str) -> Path | None:
    """The store of an experiment's place: what stands before /artifacts/<name>, /artifacts/<id> or a former name."""
    path = path_of(place)
    if path is None:
        return None
    for ending in (f"/artifacts/{name}", f"/artifacts/{number}", f"/artifacts/{path.name}"):
        if str(path).endswith(ending):
            return Path(str(path).removesuffix(ending) or "/")
    return None


def _same(one: Path, other: Path) -> bool:
    return one.exists() and one.samefile(other)


def _experiments(connection: sqlite3.Connection) -> list[tuple[str, str, str]]:
    if not _has(connection, "experiments", "artifact_location"):  # MLflow has not filled the database yet
        return []
    rows = connection.execute(
        "SELECT experiment_id, name, artifact_location FROM experiments "
        "WHERE artifact_location IS NOT NULL ORDER BY experiment_id"
    )
    return [(str(number), name, place) for number, name, place in rows]


def _changes(connection: sqlite3.Connection, column: _Column, old: Sequence[Path], new: Path) -> list[tuple[str, int]]:
    """The new values and the rows they belong to; nothing where another version of MLflow has no such column."""
    if not _has(connection, column.table, column.column):
        return []
    rewrite = moved_inside if column.json else moved
    query = f"SELECT rowid, {column.column} FROM {column.table} WHERE {column.column} LIKE '%/%'"  # noqa: S608
    rows = [(rewrite(value, old, new), value, row) for row, value in connection.execute(query)]
    return [(value, row) for value, before, row in rows if value != before]


def _has(connection: sqlite3.Connection, table: str, column: str) -> bool:
    return column in {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}


@contextmanager
def _alone(store: Store, database: Path) -> Iterator[sqlite3.Connection]:
    """One transaction that nobody else can write beside; taken back at an error."""
    users = processes_with(database)
    if users:
        told = ", ".join(f"{number} ({name})" for number, name in users.items())
        raise TrackingError(f"{database} is open in process {told}; end `plt-nn ui` and all training first.")
    try:
        with (
            store.lock().acquire(timeout=_PATIENCE),
            closing(sqlite3.connect(database, timeout=_PATIENCE, isolation_level=None)) as connection,
        ):
            _execute(connection, "BEGIN IMMEDIATE", database)
            yield connection  # closing without COMMIT takes everything back
            _execute(connection, "COMMIT", database)
    except Timeout as error:
        raise TrackingError(_in_use(database, "its lock is held")) from error


def _execute(connection: sqlite3.Connection, statement: str, database: Path) -> None:
    try:
        connection.execute(statement)
    except sqlite3.OperationalError as error:
        raise TrackingError(_in_use(database, str(error))) from error


def _in_use(database: Path, reason: str) -> str:
    return f"{database} is in use: {reason}. End `plt-nn ui` and all training, and try again."


def processes_with(file: Path) -> dict[int, str]:
    """Other processes that have a file open, by number, with their command; those of other users do not tell."""
    wanted = str(file.resolve())
    return {
        process.pid: " ".join((process.info["cmdline"] or ["?"])[:4])
        for process in psutil.process_iter(["cmdline", "open_files"])
        if process.pid != os.getpid() and any(open_.path == wanted for open_ in process.info["open_files"] or ())
    }


def _backup(database: Path) -> Path:
    """A copy of the database as it was before the transaction; takes the place of an older one."""
    backup = database.with_name(f"{database.name}.before-relocate")
    unfinished = backup.with_name(f"{backup.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(unfinished)) as target:
        source.backup(target)
    shutil.copymode(database, unfinished)
    unfinished.replace(backup)
    return backup
