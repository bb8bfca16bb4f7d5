"""A store whose folder was moved: MLflow saves the places of artifacts as absolute paths, which are corrected here."""

import os
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import unquote

import psutil
from filelock import Timeout

from plt_nn.errors import ConfigError, TrackingError
from plt_nn.files import atomic_write
from plt_nn.text import and_more
from plt_nn.tracking.store import Store

_FILE = "file:"
_PATIENCE = 10.0  # seconds to wait for another writer


class _Column(NamedTuple):
    """A column of MLflow's database that holds places of artifacts, in the rows that a condition selects."""

    kind: str
    table: str
    column: str
    where: str = "TRUE"


# All of mlflow 3.17 (store/*/dbmodels/models.py). Everything else that names a folder is history, and stays.
_COLUMNS = (
    _Column("experiments", "experiments", "artifact_location"),
    _Column("runs", "runs", "artifact_uri"),
    _Column("logged models", "logged_models", "artifact_location"),
    _Column("model versions", "model_versions", "source"),
    _Column("model versions", "model_versions", "storage_location"),
    _Column("traces", "trace_tags", "value", "key = 'mlflow.artifactLocation'"),
)


@dataclass(frozen=True)
class Relocated:
    """What was done."""

    roots: tuple[Path, ...]  # the folders whose name was replaced
    counts: dict[str, int]  # how many values were rewritten, by kind
    unchanged: tuple[str, ...]  # places of experiments in other stores, which seem to be intended
    backup: Path | None  # the copy of the database before the change; None if there was nothing to do


def relocate(store: Store, named: Sequence[Path] = ()) -> Relocated:
    """Rewrites the places of artifacts that begin with a folder in which the store was before.

    These folders are found by the places of the experiments; see `former_roots`.

    Args:
        store: The store where it is now.
        named: More such folders, absolute.

    Raises:
        ConfigError: If there is no database.
        TrackingError: If another process has it open.
    """
    root = _root(store)
    database = Store(root).database
    if not database.is_file():
        raise ConfigError(f"there are no runs in {root}; --store names another folder.")
    with _exclusive(store, database) as connection:
        found, intended = former_roots(_experiments(connection), root)
        roots = tuple(dict.fromkeys([*named, *found]))
        found_rows = {column: _changes(connection, column, roots, root) for column in _COLUMNS}
        changes = {column: rows for column, rows in found_rows.items() if rows}
        if not changes:
            return Relocated((), {}, intended, None)
        backup = _backup(database)
        counts: Counter[str] = Counter()
        for column, rows in changes.items():
            counts[column.kind] += len(rows)
            connection.executemany(f"UPDATE {column.table} SET {column.column} = ? WHERE rowid = ?", rows)  # noqa: S608
    unchanged = tuple(place for place in intended if moved(place, roots, root) == place)
    return Relocated(roots, dict(counts), unchanged, backup)


def stale_roots(store: Store) -> tuple[Path, ...]:
    """The folders that `relocate` would find; only reads."""
    root = _root(store)
    with closing(sqlite3.connect(f"{Store(root).database.as_uri()}?mode=ro", uri=True)) as connection:
        return former_roots(_experiments(connection), root)[0]


def former_roots(experiments: Sequence[tuple[str, str, str]], root: Path) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """The folders in which a store was before, and the places that are left unchanged.

    An experiment's place ends in `/artifacts/<experiment>`; what precedes it is where the store was. It counts if the
    artifacts are here now, or if they are gone from there and nothing else shows that the store has always been here.
    Otherwise the place seems to be intended, another disk for instance.

    Args:
        experiments: Their ids, names and places.
        root: Where the store is now.
    """
    places: dict[Path, list[str]] = {}
    has_own = False
    for number, name, place in experiments:
        folder = _root_of(place, name, number)
        if folder is not None and (folder == root or (folder.exists() and folder.samefile(root))):
            has_own = has_own or number != "0"  # MLflow's own experiment, made with the database
        elif folder is not None:
            places.setdefault(folder, []).append(place)
    former = tuple(folder for folder, theirs in places.items() if _has_moved(theirs, folder, root, has_own))
    return former, tuple(place for folder in places if folder not in former for place in places[folder])


def _has_moved(places: Sequence[str], folder: Path, root: Path, has_own: bool) -> bool:
    if any(Path(str(path_of(moved(place, [folder], root)))).exists() for place in places):
        return True
    return not has_own and not any(Path(str(path_of(place))).exists() for place in places)


def _root(store: Store) -> Path:
    return store.root.resolve() if ".." in store.root.parts else store.root


def _root_of(place: str, name: str, number: str) -> Path | None:
    """The store of an experiment's place: what precedes /artifacts/<name>, /artifacts/<id> or a former name."""
    path = path_of(place)
    if path is None:
        return None
    for ending in (f"/artifacts/{name}", f"/artifacts/{number}", f"/artifacts/{path.name}"):
        if str(path).endswith(ending):
            return Path(str(path).removesuffix(ending) or "/")
    return None


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
    query = f"SELECT {column.column}, rowid FROM {column.table} WHERE {column.column} IS NOT NULL AND {column.where}"  # noqa: S608
    rows = [(place, moved(place, old, new), row) for place, row in connection.execute(query)]
    return [(target, row) for place, target, row in rows if target != place]


def _has(connection: sqlite3.Connection, table: str, column: str) -> bool:
    return column in {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}


@contextmanager
def _exclusive(store: Store, database: Path) -> Iterator[sqlite3.Connection]:
    """One transaction during which nobody else can write; an error undoes it."""
    if users := processes_with(database):
        listed = and_more(f"{number} ({name})" for number, name in users.items())
        raise TrackingError(f"{database} is open in process {listed}; end `plt-nn ui` and all training first.")
    try:
        with (
            store.lock().acquire(timeout=_PATIENCE),
            closing(sqlite3.connect(database, timeout=_PATIENCE, isolation_level=None)) as connection,
        ):
            connection.execute("BEGIN IMMEDIATE")
            yield connection  # closing without COMMIT undoes everything
            connection.execute("COMMIT")
    except (Timeout, sqlite3.OperationalError) as error:
        reason = "its lock is held" if isinstance(error, Timeout) else str(error)
        raise TrackingError(f"{database} is in use: {reason}. End `plt-nn ui` and all training, and retry.") from error


def processes_with(file: Path) -> dict[int, str]:
    """Other processes that have a file open, by number, with their command; those of other users are not visible."""
    wanted = str(file.resolve())
    return {
        process.pid: " ".join((process.info["cmdline"] or ["?"])[:4])
        for process in psutil.process_iter(["cmdline", "open_files"])
        if process.pid != os.getpid() and any(open_.path == wanted for open_ in process.info["open_files"] or ())
    }


def _backup(database: Path) -> Path:
    """A copy of the database before the transaction; replaces an older one."""
    backup = database.with_name(f"{database.name}.before-relocate")
    with atomic_write(backup) as partial:
        with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(partial)) as target:
            source.backup(target)
        partial.chmod(database.stat().st_mode)
    return backup


def path_of(place: str) -> PurePosixPath | None:
    """The absolute path that a plain path or a `file:` address stands for; None for anything else."""
    path = unquote(place.removeprefix(_FILE)) if place.startswith(_FILE) else place
    if place.startswith(_FILE) and path.startswith("//"):
        host, slash, rest = path.removeprefix("//").partition("/")
        path = slash + rest if host in ("", "localhost") else ""
    return PurePosixPath(path) if path.startswith("/") else None


def moved(place: str, old: Iterable[Path], new: Path) -> str:
    """A place with the old folder at its beginning replaced by the new one.

    Only whole components count: /a/mlruns2 is not inside /a/mlruns. What is already inside the new folder stays, unless
    an old folder is the nearer of the two (a folder that has moved up into its parent).

    Args:
        place: A path or a `file:` address; anything else is returned unchanged.
        old: Absolute folders.
        new: The absolute folder in their place.
    """
    path = path_of(place)
    if path is None:
        return place
    around = [root for root in {*old, new} if path.is_relative_to(root)]
    nearest = max(around, key=lambda root: len(root.parts), default=new)
    if nearest == new:
        return place
    target = new / path.relative_to(nearest)
    return target.as_uri() if place.startswith(_FILE) else str(target)
