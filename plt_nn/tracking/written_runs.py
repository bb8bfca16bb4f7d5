"""Runs whose results exist all at once, written and delivered as a whole."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from plt_nn.tracking.environment import environment_tags
from plt_nn.tracking.masking import flat_params
from plt_nn.tracking.mlflow_client import set_defaults, without_password
from plt_nn.tracking.spool.events import Begin, End, Metrics, Params
from plt_nn.tracking.spool.folder import SpoolFolder, new_uid
from plt_nn.tracking.spool.writer import SpoolWriter
from plt_nn.tracking.store import Store, tracking_address
from plt_nn.tracking.tags import NOTE
from plt_nn.tracking.upload.deliver_with_retries import upload

_MOST_BYTES = 1 << 30


@dataclass(frozen=True)
class WrittenRun:
    """The results of a run."""

    name: str
    params: Mapping[str, Any] = field(default_factory=dict)  # nested ones get dotted names
    metrics: Mapping[str, Mapping[int, float]] = field(default_factory=dict)  # name -> value at each step
    tags: Mapping[str, str] = field(default_factory=dict)
    note: str = ""  # its description, in Markdown
    files: Mapping[str, bytes] = field(default_factory=dict)  # path among its artifacts -> content


def write_run(
    store: Store, experiment: str, run: WrittenRun, parent: str | None = None, tracking_uri: str | None = None
) -> SpoolFolder:
    """Writes a run where `deliver`, or `plt-nn sync`, finds it.

    Args:
        store: The store.
        experiment: The name of the experiment.
        run: The run.
        parent: The uid of the run of which it is a child.
        tracking_uri: As `DurableMLFlowLogger` takes it.

    Raises:
        TrackingError: If it cannot be written.
    """
    uri = tracking_address(tracking_uri, store)
    folder = SpoolFolder(store.spool / new_uid())
    writer = SpoolWriter(folder, _MOST_BYTES)
    tags = environment_tags() | dict(run.tags) | ({NOTE: run.note} if run.note else {})
    address = without_password(uri)[0] if uri is not None else None
    writer.append(Begin(folder.uid, experiment, run.name, address, tags, parent))
    writer.append(Params(flat_params(dict(run.params))))
    for step in sorted({step for values in run.metrics.values() for step in values}):
        values = {name: float(values[step]) for name, values in run.metrics.items() if step in values}
        writer.append(Metrics(step, values))
    for path, content in run.files.items():
        if (artifact := writer.stage(content, path)) is not None:
            writer.append(artifact)
    writer.append(End("FINISHED"))
    writer.sync()
    writer.close()
    return folder


def deliver(folders: Sequence[SpoolFolder], seconds: float = 30.0) -> bool:
    """Delivers runs to MLflow in this process, in this order.

    Args:
        folders: What `write_run` has given; a parent before its children.
        seconds: For how long a delivery that fails is retried.

    Returns:
        Whether everything has arrived; `plt-nn sync` delivers what has not.
    """
    set_defaults()
    stop = threading.Event()
    # When one fails, the others are not started: they would fail in the same way.
    return all(upload(folder, stop, follow=True, patience=seconds) for folder in folders)
