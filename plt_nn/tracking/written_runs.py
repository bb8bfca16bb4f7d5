"""Runs whose results are there all at once, written and delivered as a whole."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from plt_nn.tracking.address import tracking_address
from plt_nn.tracking.environment import environment_tags
from plt_nn.tracking.masking import flat_params
from plt_nn.tracking.run_spool import now
from plt_nn.tracking.spool.events import VERSION
from plt_nn.tracking.spool.folder import SpoolFolder
from plt_nn.tracking.spool.writer import SpoolWriter
from plt_nn.tracking.store import Store
from plt_nn.tracking.tags import NOTE
from plt_nn.tracking.uid import new_uid
from plt_nn.tracking.upload.environment import set_defaults, without_password
from plt_nn.tracking.upload.loop import upload

_MOST_BYTES = 1 << 30


@dataclass(frozen=True)
class WrittenRun:
    """What a run has shown.

    Args:
        name: Its name.
        params: Its parameters, nested ones by dotted names.
        metrics: Name -> value at each step.
        tags: Its tags.
        note: Its description, in Markdown.
        files: Path among its artifacts -> content.
    """

    name: str
    params: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)


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
    about = {"node": 0, "attempt": 1, "parent": parent, "resumed": False, "tags": tags}
    address = without_password(uri)[0] if uri is not None else None
    where = {"experiment": experiment, "run_name": run.name, "uri": address}
    writer.append({"kind": "begin", "version": VERSION, "uid": folder.uid, "time": now(), **where, **about})
    writer.append({"kind": "params", "params": flat_params(dict(run.params))})
    steps = sorted({step for values in run.metrics.values() for step in values})
    for step in steps:
        values = {name: float(values[step]) for name, values in run.metrics.items() if step in values}
        writer.append({"kind": "metrics", "time": now(), "step": step, "metrics": values})
    for path, content in run.files.items():
        if (staged := writer.stage_bytes(content, path)) is not None:
            writer.append({"kind": "artifact", "file": staged, "path": path})
    writer.append({"kind": "end", "time": now(), "status": "FINISHED", "reason": None})
    writer.sync()
    writer.close()
    return folder


def deliver(folders: Sequence[SpoolFolder], seconds: float = 30.0) -> bool:
    """Delivers runs to MLflow in this process, in this order.

    Args:
        folders: What `write_run` has given; a parent before its children.
        seconds: How long a delivery that fails is tried again.

    Returns:
        Whether all has arrived; `plt-nn sync` delivers what has not.
    """
    set_defaults()
    stop = threading.Event()
    # When one fails the others, which are not begun then, would fail in the same way.
    return all(upload(folder, stop, follow=True, patience=seconds) for folder in folders)
