"""`plt-nn sync`: delivers to MLflow what is not delivered yet."""

import argparse
import threading
import time
from pathlib import Path

from rich.console import Console

from plt_nn.cli.options import add_store
from plt_nn.errors import ConfigError
from plt_nn.text import byte_size, counted
from plt_nn.text_table import TextTable
from plt_nn.tracking.mlflow_client import set_defaults
from plt_nn.tracking.spool.events import Begin
from plt_nn.tracking.spool.folder import SpoolFolder, spool_folders
from plt_nn.tracking.spool.reader import first_event
from plt_nn.tracking.store import store_at
from plt_nn.tracking.upload.backlog import backlog_of, is_delivered
from plt_nn.tracking.upload.deliver_with_retries import stop_signals, upload
from plt_nn.tracking.upload.prune import prune
from plt_nn.tracking.upload.start import start_uploader
from plt_nn.tracking.upload.state import load_state

_EVERY = 2.0  # seconds between looks with --watch


def run(argv: list[str]) -> int:
    """Delivers every spool of a store, or lists them.

    Returns:
        0 if everything is delivered, 1 if something remains.

    Raises:
        ConfigError: If there is no such store.
    """
    arguments = _parser().parse_args(argv[1:])
    store = store_at(arguments.store)
    if not store.root.is_dir():
        raise ConfigError(f"there is no folder {store.root}; --store names the folder of the runs.")
    if arguments.status:
        return _show(store.root)
    set_defaults()
    with stop_signals() as stop:
        while True:
            done = [_deliver(folder, stop, arguments.wait) for folder in _waiting(store.root)]
            if not arguments.watch or stop.is_set():
                break
            stop.wait(_EVERY)
    prune(store.root)
    if not arguments.watch:
        print("Everything is in MLflow." if all(done) else "Something remains; `plt-nn sync --status` lists it.")
    return 0 if all(done) else 1


def _waiting(store: Path) -> list[SpoolFolder]:
    return [folder for folder in spool_folders(store) if not is_delivered(folder)]


def _deliver(folder: SpoolFolder, stop: threading.Event, wait: float) -> bool:
    name = folder.root.name
    is_running = folder.writer_is_alive()
    has_uploader = folder.uploader_is_alive()
    if has_uploader and is_running:
        print(f"{name}: training continues, and its uploader is running.")
        return True
    # An uploader that is still there may fail for a reason that does not hold here, such as a wrong password.
    is_done = upload(folder, stop, follow=not is_running, patience=wait, takes_over=has_uploader)
    if has_uploader and not is_done:
        start_uploader(folder, {})
    state = load_state(folder.state)
    waits = f"waits: {state.error or 'it takes longer'}"
    print(f"{name}: {'delivered' if is_done else waits}; {state.rows} rows so far.")
    return is_done


def _show(store: Path) -> int:
    folders = list(spool_folders(store))
    header = ("run", "experiment", "state", "in MLflow", "remaining", "problems")
    table = TextTable(header, [_row(folder) for folder in folders], f"What waits in {store}", unbroken=(0,))
    Console().print(table.as_rich() if folders else f"There is no spool in {store}.")
    return 0 if all(is_delivered(folder) or folder.writer_is_alive() for folder in folders) else 1


def _row(folder: SpoolFolder) -> list[str]:
    state, backlog = load_state(folder.state), backlog_of(folder)
    waits = "nothing" if backlog.is_empty else f"{byte_size(backlog.size)}, {counted(backlog.files, 'file')}"
    counts = {"refused": state.refused, "lost": state.lost, "missing files": len(state.missing)}
    problems = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    return [folder.root.name, _experiment(folder), _state(folder), counted(state.rows, "row"), waits, problems]


def _state(folder: SpoolFolder) -> str:
    if is_delivered(folder):
        at = load_state(folder.state).finished_at or 0.0
        return time.strftime("delivered %F %R", time.localtime(at))
    doing = "training" if folder.writer_is_alive() else "ended"
    error = load_state(folder.state).error
    if error:
        return f"{doing}; waits: {error}"
    return f"{doing}; {'is being delivered' if folder.uploader_is_alive() else 'waits for `plt-nn sync`'}"


def _experiment(folder: SpoolFolder) -> str:
    begin = first_event(folder.events)
    return begin.experiment if isinstance(begin, Begin) else "?"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="plt-nn sync", description="Deliver to MLflow what is not delivered yet.")
    add_store(parser)
    parser.add_argument("--status", action="store_true", help="list what waits, and deliver nothing")
    parser.add_argument("--watch", action="store_true", help="continue until Ctrl-C")
    parser.add_argument(
        "--wait", type=float, default=60.0, help="seconds for which a run that fails is retried (default: 60)"
    )
    return parser
