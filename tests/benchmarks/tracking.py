"""What logging the loss at every step costs: no logger, plt_nn, Lightning's MLFlowLogger and MLflow's autolog in turn.

Run: python tests/benchmarks/tracking.py [--repeats 7] [--epochs 200]
     python tests/benchmarks/tracking.py --rows 1000000
     python tests/benchmarks/tracking.py --outage

Prints the time and the processor time of a training step, the longest gap between two steps, and the time of the whole
fit with what is waited for at its end. Each fit has a process of its own, which has first trained for three epochs with
the same logger, so that imports are not measured; the databases are made beforehand. That every step has arrived once,
with the loss that training saw, is checked by MLflow's client. With `--rows`: how fast plt_nn takes and delivers rows,
and in how much memory. With `--outage`: what happens when the server is killed in mid-training.
"""

import argparse
import json
import logging
import os
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from mlflow.tracking import MlflowClient
from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

from plt_nn import DurableMLFlowLogger
from tests.ports import free_port

JOB = Path(__file__).with_name("tracking_job.py")
STEPS_AN_EPOCH = 4  # 100 samples in batches of 32
BASE = "no logger"
CONTENDERS = {  # the logger, as the job calls it, and the kind of the store
    BASE: ("none", "SQLite"),
    "plt_nn, SQLite": ("plt_nn", "SQLite"),
    "plt_nn, server": ("plt_nn", "server"),
    "MLFlowLogger, SQLite": ("MLFlowLogger", "SQLite"),
    "MLFlowLogger, server": ("MLFlowLogger", "server"),
    "mlflow.pytorch.autolog, SQLite": ("autolog", "SQLite"),
}
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
AWAY, LIMIT = 15, 60  # seconds: how long the server is away, and how long a fit may stand still


@dataclass(frozen=True)
class Fit:
    """What the job reports, in seconds, and how many steps arrived."""

    loop: float
    work: float
    gap: float
    fit: float
    losses: list[float]
    run_id: str | None
    arrived: int = 0


class Server:
    """An MLflow server on loopback, in a session of its own, so that it can be killed as a whole and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._port = free_port()
        self.uri = f"http://127.0.0.1:{self._port}"
        database(folder)

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        options = {
            "--workers": "1",
            "--host": "127.0.0.1",
            "--port": str(self._port),
            "--backend-store-uri": f"sqlite:///{self._folder / 'mlflow.db'}",
            "--default-artifact-root": str(self._folder / "artifacts"),
        }
        words = [word for option in options.items() for word in option]
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", *words],
                env=environment() | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
                cwd=self._folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        while not self._answers():
            assert self._process.poll() is None, (self._folder / "server.log").read_text()
            time.sleep(0.1)

    def kill(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=5) as answer:
                return int(answer.status) == 200
        except (urllib.error.URLError, OSError):
            return False


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("MLFLOW_TRACKING_URI", "PL_GLOBAL_SEED")}
    return kept | QUIET | {"OMP_NUM_THREADS": "1"}


def database(folder: Path) -> str:
    """Makes an MLflow database without runs, which takes seconds, and gives its address."""
    folder.mkdir()
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    MlflowClient(uri).search_experiments()
    return uri


def start_job(folder: Path, logger: str, uri: str, epochs: int, **options: Any) -> "subprocess.Popen[bytes]":
    """Starts a fit under a logger; `folder` is that of plt_nn's store, and holds the report."""
    told = {"logger": logger, "uri": uri, "store": folder, "epochs": epochs, "report": folder / "report.json"} | options
    words = [word for name, value in told.items() for word in (f"--{name}", str(value))]
    return subprocess.Popen([sys.executable, str(JOB), *words], cwd=folder, env=environment())


def arrived(uri: str, run_id: str, losses: list[float]) -> int:
    """How many steps are in MLflow. None is there twice, and each has the loss that training saw."""
    history = MlflowClient(uri).get_metric_history(run_id, "train_loss")
    rows = sorted((row.step, row.value) for row in history)
    first = rows[0][0]  # autolog counts from 1
    assert len({step for step, _ in rows}) == len(rows), "a step has arrived twice"
    assert all(value == losses[step - first] for step, value in rows), "a step has arrived with another loss"
    return len(rows)


# -- what a step costs ------------------------------------------------------------------------------------------------


def measure(name: str, folder: Path, uris: dict[str, str], seed: int, epochs: int) -> Fit:
    """A fit in a process of its own."""
    logger, kind = CONTENDERS[name]
    process = start_job(folder, logger, uris[kind], epochs, experiment=name, seed=seed, **{"warm-up": 3})
    assert process.wait() == 0, f"the fit with {name} has failed"
    fit = Fit(**json.loads((folder / "report.json").read_text()))
    count = arrived(uris[kind], fit.run_id, fit.losses) if fit.run_id is not None else 0
    return Fit(**(vars(fit) | {"arrived": count}))


def speed_table(folder: Path, repeats: int, epochs: int) -> Table:
    """A row a contender; every repeat runs all of them in turn, each time beginning with another one."""
    server, store = Server(folder / "server"), folder / "mlruns"
    uris = {"SQLite": database(store), "server": server.uri}
    fits: dict[str, list[Fit]] = {name: [] for name in CONTENDERS}
    names = list(CONTENDERS)
    server.start()
    try:
        for repeat in range(repeats):
            turn = repeat % len(names)
            for name in names[turn:] + names[:turn]:
                fits[name].append(measure(name, store, uris, repeat, epochs))
            assert all(fits[name][repeat].losses == fits[BASE][repeat].losses for name in names), "another training"
    finally:
        server.kill()
    steps = epochs * STEPS_AN_EPOCH
    table = markdown(f"{epochs} epochs of {STEPS_AN_EPOCH} steps, {repeats} fits each")
    for column in ("", "us a step", "ratio to no logger: median (min-max)", "processor us a step"):
        table.add_column(column)
    for column in ("longest gap between steps, ms", "whole fit, s", "steps that arrived"):
        table.add_column(column)
    for name, reached in fits.items():
        ratios = [mine.loop / base.loop for mine, base in zip(reached, fits[BASE], strict=True)]
        gaps = [fit.gap * 1e3 for fit in reached]
        table.add_row(
            name,
            f"{statistics.median(fit.loop for fit in reached) / steps * 1e6:.0f}",
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})",
            f"{statistics.median(fit.work for fit in reached) / steps * 1e6:.0f}",
            f"{statistics.median(gaps):.0f} (at most {max(gaps):.0f})",
            f"{statistics.median(fit.fit for fit in reached):.1f}",
            "" if name == BASE else f"{min(fit.arrived for fit in reached)} of {steps}, once",
        )
    return table


# -- many rows --------------------------------------------------------------------------------------------------------


class Memory(threading.Thread):
    """Looks four times a second at how much memory the children of this process hold, in bytes."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seen: list[int] = []
        self._stop_looking = threading.Event()

    def run(self) -> None:
        while not self._stop_looking.wait(0.25):
            held = [_resident(child) for child in psutil.Process().children()]
            self.seen.append(max(held, default=0))

    def stop(self) -> None:
        self._stop_looking.set()
        self.join()


def rows_table(folder: Path, count: int) -> Table:
    """As many rows as asked for, one metric each, as fast as plt_nn takes them."""
    store = folder / "mlruns"
    uri = database(store)
    logger = DurableMLFlowLogger("rows", store=str(store), tracking_uri=uri, flush_seconds=24 * 3600)
    memory = Memory()
    logger.log_hyperparams({"rows": count})  # the run begins
    memory.start()
    began = time.perf_counter()
    for step in range(count):
        logger.log_metrics({"value": step / 7}, step)
    taken = time.perf_counter() - began
    logger.finalize("success")
    delivered = time.perf_counter() - began
    memory.stop()
    size = next((store / "spool").iterdir()).joinpath("events.jsonl").stat().st_size
    query = "SELECT COUNT(*), COUNT(DISTINCT step), SUM(value = step / 7.0) FROM metrics WHERE run_uuid = ?"
    with sqlite3.connect(store / "mlflow.db") as connection:
        rows = connection.execute(query, [logger.run_id]).fetchone()
    early, most = memory.seen[len(memory.seen) // 5] / 1e6, max(memory.seen) / 1e6
    table = markdown(f"{count:,} rows through plt_nn to SQLite")
    table.add_column("")
    table.add_column("")
    table.add_row("taken by the logger", f"{count / taken:,.0f} rows/s ({taken / count * 1e6:.0f} us a row)")
    table.add_row("all delivered after", f"{delivered:.0f} s ({count / delivered:,.0f} rows/s)")
    table.add_row("memory of the uploader", f"at most {most:.0f} MB; {early:.0f} MB after a fifth of the time")
    table.add_row("the spool's file", f"{size / 1e6:.0f} MB ({size / count:.0f} bytes a row)")
    table.add_row("in the database", f"{rows[0]:,} rows of {rows[1]:,} steps, {rows[2]:,} with the value logged")
    return table


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:  # it has just ended
        return 0


# -- a server that goes away ------------------------------------------------------------------------------------------


def outage_table(folder: Path, epochs: int) -> Table:
    """The server is killed after three seconds of training, for a while or until the fit has ended."""
    server, store = Server(folder / "server"), folder / "mlruns"
    store.mkdir()
    table = markdown(f"The server is killed in mid-training; {epochs * STEPS_AN_EPOCH} steps of 10 ms and more")
    for column in ("", "server away", "longest gap between steps", "the fit", "steps in MLflow at last"):
        table.add_column(column)
    try:
        for away in (AWAY, None):
            for logger in ("plt_nn", "MLFlowLogger"):
                table.add_row(logger, *_outage(server, store, logger, away, epochs))
    finally:
        server.kill()
    return table


def _outage(server: Server, folder: Path, logger: str, away: int | None, epochs: int) -> tuple[str, ...]:
    """A fit with an outage.

    Returns:
        How long the server was away, the longest gap, how the fit ended, and what arrived.
    """
    server.start()
    alive, report, experiment = folder / "alive", folder / "report.json", f"{logger} {away}"
    for file in (alive, report):
        file.unlink(missing_ok=True)
    job = start_job(folder, logger, server.uri, epochs, experiment=experiment, pause=0.01, alive=alive)
    while not alive.exists():
        assert job.poll() is None, "the fit has failed"
        time.sleep(0.01)
    time.sleep(3)
    server.kill()
    killed, is_away, is_stuck = time.monotonic(), True, False
    while job.poll() is None and not is_stuck:
        is_stuck = time.time() - alive.stat().st_mtime > LIMIT
        if is_away and away is not None and time.monotonic() - killed >= away:
            server.start()
            is_away = False
        time.sleep(0.05)
    took = time.monotonic() - killed
    if is_stuck:
        job.kill()
        job.wait()
    if is_away:
        server.start()
    steps = epochs * STEPS_AN_EPOCH
    gap = f"{json.loads(report.read_text())['gap'] * 1e3:.0f} ms" if report.exists() else f"blocked > {LIMIT} s"
    ending = "stood still, and was ended by us" if is_stuck else f"ended with exit code {job.returncode}"
    count = _count(server.uri, experiment, steps)
    server.kill()
    return f"{away} s" if away else "for good", gap, f"{ending} {took:.0f} s after the kill", f"{count} of {steps}"


def _count(uri: str, experiment: str, steps: int) -> int:
    """The steps in MLflow, once that has stopped growing."""
    client, count, since = MlflowClient(uri), 0, time.monotonic()
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    while count < steps and time.monotonic() - since < 15:
        run = client.search_runs([found.experiment_id])[0]
        rows = client.get_metric_history(run.info.run_id, "train_loss")
        assert len({row.step for row in rows}) == len(rows), "a step has arrived twice"
        if len(rows) > count:
            count, since = len(rows), time.monotonic()
        time.sleep(0.5)
    return count


# ---------------------------------------------------------------------------------------------------------------------


def end_uploaders(folder: Path) -> None:
    """Ends the uploaders of spools in a folder that is about to go."""
    for process in psutil.process_iter(["cmdline"]):
        if any(word.startswith(f"{folder}{os.sep}") for word in process.info["cmdline"] or ()):
            process.terminate()


def markdown(title: str) -> Table:
    return Table(title=title, box=MARKDOWN, title_justify="left")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--rows", type=int, metavar="N", help="deliver N rows instead")
    parser.add_argument("--outage", action="store_true", help="kill the server in mid-training instead")
    arguments = parser.parse_args()
    for name in ("MLFLOW_TRACKING_URI", "PL_GLOBAL_SEED"):
        os.environ.pop(name, None)
    os.environ |= QUIET
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    console = Console(width=200)
    with tempfile.TemporaryDirectory(prefix="plt_nn_tracking_", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        try:
            if arguments.rows:
                table = rows_table(folder, arguments.rows)
            elif arguments.outage:
                table = outage_table(folder, epochs=600)
            else:
                table = speed_table(folder, arguments.repeats, arguments.epochs)
        finally:
            end_uploaders(folder)
    console.print(table)


if __name__ == "__main__":
    main()
