"""What a spool holds and what MLflow has, in the same form."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from mlflow.entities import Run, ViewType
from mlflow.tracking import MlflowClient

from plt_nn.tracking.spool.events import Begin, BestLogged, End, Metrics
from plt_nn.tracking.spool.folder import SpoolFolder, new_uid
from plt_nn.tracking.spool.reader import read_events
from plt_nn.tracking.spool.writer import SpoolWriter
from plt_nn.tracking.tags import UID
from plt_nn.tracking.upload.backlog import is_delivered
from plt_nn.tracking.upload.state import load_state
from tests import warm
from tests.tracking.servers import until

HERE = Path(__file__).parent
JOB = HERE / "durability_job.py"
PATIENCE = warm.PATIENCE


def new_spool(store: Path, uri: str | None, experiment: str = "spools") -> SpoolWriter:
    """A spool with the beginning of a run, and nobody at work on it once it is closed."""
    folder = SpoolFolder(store / "spool" / new_uid())
    writer = SpoolWriter(folder, most_bytes=1 << 30)
    writer.append(Begin(folder.uid, experiment, uri=uri))
    return writer


def metrics(step: int, /, **values: float) -> Metrics:
    """The event of a step's metrics."""
    return Metrics(step, values)


def end() -> End:
    """The event of a run's end."""
    return End("FINISHED")


class Point(NamedTuple):
    """A row of a metric."""

    key: str
    step: int
    value: str  # so that NaN equals NaN


def environment() -> dict[str, str]:
    """That of a fresh shell; SlowSteps can be imported."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_TRACKING")}
    settings = {"OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONPATH": str(HERE), "COLUMNS": "200"}
    return plain | settings


def start(
    *words: object,
    folder: Path | None = None,
    variables: dict[str, str] | None = None,
    interpreter: warm.Interpreter = warm.TRAINING,
) -> warm.Process:
    """Starts Python with these words in a session of its own; output and errors go the same way."""
    settings = environment() | (variables or {})
    return warm.Process(
        words,
        cwd=folder,
        env=settings,
        together=True,
        start_new_session=True,
        interpreter=interpreter,
    )


def start_fresh(*words: object, variables: dict[str, str] | None = None) -> "subprocess.Popen[str]":
    """The same with an interpreter that has imported nothing, and that `ps` shows with these words."""
    return subprocess.Popen(
        [sys.executable, *map(str, words)],
        env=environment() | (variables or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def call(*words: object, **options: Any) -> tuple[int, str]:
    """The exit status of Python with these words, and what it printed; options are those of `start`."""
    return ended(start(*words, **options))


def ended(process: "warm.Process | subprocess.Popen[str]") -> tuple[int, str]:
    """The exit status of a process, and what it printed."""
    try:
        output, _ = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    return process.wait(), output


def until_delivered(folder: SpoolFolder) -> None:
    """Waits until the uploader has done everything and left."""

    def is_done() -> bool:
        return is_delivered(folder) and not folder.uploader_is_alive()

    until(is_done, PATIENCE, f"not delivered: {load_state(folder.state)}")


def run_of(client: MlflowClient, uid: str) -> Run:
    """The only run with this uid."""
    everything = [found.experiment_id for found in client.search_experiments(ViewType.ALL)]
    (run,) = client.search_runs(everything, f"tags.`{UID}` = '{uid}'", run_view_type=ViewType.ALL)
    return run


def delivered(client: MlflowClient, uid: str, key: str | None = None) -> Counter[Point]:
    """The rows of a run in MLflow."""
    run = run_of(client, uid)
    keys = [key] if key is not None else list(run.data.metrics)
    histories = [client.get_metric_history(run.info.run_id, each) for each in keys]
    return Counter(Point(row.key, row.step, str(row.value)) for history in histories for row in history)


def written(folder: SpoolFolder, key: str | None = None) -> Counter[Point]:
    """The rows that the complete lines of a spool hold. Keys are as MLflow takes them in these tests."""
    rows: Counter[Point] = Counter()
    for event, *_ in read_events(folder.events):
        if isinstance(event, Metrics | BestLogged):
            prefix = "best/" if isinstance(event, BestLogged) else ""
            named = {f"{prefix}{name}": str(value) for name, value in event.metrics.items()}
            rows.update(Point(name, event.step, value) for name, value in named.items() if key in (None, name))
    return rows
