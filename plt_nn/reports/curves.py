"""What the plots of a report show: curves of runs in full resolution, phases, learning rates, fronts. Pure."""

import base64
import gzip
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plt_nn.reports.comparison import Row
from plt_nn.reports.metric import Mode, is_of_training
from plt_nn.tracking import tags
from plt_nn.tracking.read.runs import History, RunRecord

MOST_PANELS = 24
_RATES = ("lr/", "lr-")
_SPEED = ("perf/samples_per_second", "perf/step_ms_mean", "perf/gpu_memory_mb_max")
_REPEATED = ("_step", "_epoch")

MetricHistories = Mapping[str, History]  # of one run, by the name of the metric


Place = list[Any]  # offset in bytes, number of elements, and the dtype as JavaScript's typed arrays know it


class ArrayBlock:
    """Collects arrays; those with the same content are stored once, such as the steps that many metrics share."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._known: dict[tuple[str, bytes], Place] = {}

    def add(self, values: NDArray[Any], kind: str = "f4") -> Place:
        """Adds an array.

        Args:
            values: The array, `(N,)`.
            kind: `f4` or `f8` for floats, `i4` for whole numbers.

        Returns:
            Where it lies.
        """
        content = np.ascontiguousarray(values, dtype=f"<{kind}").tobytes()
        place = self._known.get((kind, content))
        if place is None:
            place = self._known[(kind, content)] = [self._size, len(values), kind]
            padding = -len(content) % 8
            self._parts.append(content + b"\0" * padding)
            self._size += len(content) + padding
        return place

    def packed(self) -> str:
        """The whole block, compressed, in base64."""
        return packed(b"".join(self._parts))


def packed(content: bytes) -> str:
    """Bytes compressed and in base64, as the page's script unpacks them."""
    return base64.b64encode(gzip.compress(content, 6, mtime=0)).decode()


def wanted_metrics(runs: Sequence[RunRecord], first: str) -> dict[str, list[str]]:
    """Which metrics a report shows, by its section, the most important first, `first` before all.

    Returns:
        `curves`, `rates` and `machine`: names of metrics.
    """
    names = list(dict.fromkeys(name for run in runs for name in run.last))
    learnt = [name for name in names if not is_of_training(name)]
    learnt = [name for name in learnt if not _is_repeated(name, learnt)]
    order = sorted(learnt, key=lambda name: (name != first, "loss" not in name, "val" not in name, name))
    in_system = sorted(name for name in names if name.startswith(tags.SYSTEM))
    machine = [name for name in _SPEED if name in names] + in_system
    return {
        "curves": order[:MOST_PANELS],
        "rates": [name for name in names if name.startswith(_RATES)],
        "machine": machine[:MOST_PANELS],
    }


def lines(
    runs: Sequence[RunRecord], histories: Sequence[MetricHistories], name: str, block: ArrayBlock
) -> list[dict[str, Any]]:
    """The lines of a metric: of each run that has it, the steps, values, epochs trained and minutes."""
    found = []
    for number, (run, own) in enumerate(zip(runs, histories, strict=True)):
        history = own.get(name)
        if history is None or not np.isfinite(history.values).any():
            continue
        line: dict[str, Any] = {"run": number, "step": block.add(history.steps, "i4"), "y": block.add(history.values)}
        line["minute"] = block.add((history.times - run.began) / 60_000)
        epochs = epochs_trained(own.get("epoch"), history.steps)
        if epochs is not None:
            line["epoch"] = block.add(epochs)
        found.append(line)
    return found


def epochs_trained(epochs: History | None, steps: NDArray[np.int64]) -> NDArray[np.float64] | None:
    """How many epochs were trained at some steps, with a fraction within an epoch; None if it is not known.

    Args:
        epochs: The metric `epoch`, counted from 0, as Lightning logs it with every row.
        steps: The steps, `(N,)`.
    """
    if epochs is None or not len(epochs.steps):
        return None
    is_last = np.append(np.diff(epochs.values) != 0, True)  # the last row of each epoch
    ends, trained = epochs.steps[is_last].astype(np.float64), epochs.values[is_last] + 1
    ends, trained = np.insert(ends, 0, -1.0), np.insert(trained, 0, trained[0] - 1)
    found: NDArray[np.float64] = np.interp(steps, ends, trained)
    return found


def phases(own: MetricHistories, run: RunRecord) -> list[dict[str, Any]]:
    """The phases of a freezing schedule: where each began, in steps, epochs and minutes, and what it trains."""
    history = own.get("phase")
    if history is None or not len(history.steps):
        return []
    is_first = np.append(True, np.diff(history.values) != 0)
    steps = history.steps[is_first]
    epochs = epochs_trained(own.get("epoch"), steps - 1)
    found = []
    for at, number in enumerate(history.values[is_first]):
        trained = run.tags.get(f"{tags.PHASE}{number:.0f}", "").partition(": trains ")[2]
        name = f"phase {number:.0f}" + (f": {trained}" if trained else "")
        minute = (int(history.times[is_first][at]) - run.began) / 60_000
        epoch = float(epochs[at]) if epochs is not None else None
        found.append({"name": name, "step": int(steps[at]), "epoch": epoch, "minute": minute})
    return found


def front(points: Sequence[tuple[float, float]], mode: Mode) -> list[int]:
    """Which points no other beats in both: the Pareto front, in the order of the price.

    Args:
        points: Price and value of each.
        mode: Which way the value gets better; a price is always better lower.
    """
    sign = 1 if mode == "min" else -1
    found: list[int] = []
    for at in sorted(range(len(points)), key=lambda at: (points[at][0], sign * points[at][1])):
        if not found or sign * points[at][1] < sign * points[found[-1]][1]:
            found.append(at)
    return found


def prices(rows: Sequence[Row], mode: Mode) -> list[dict[str, Any]]:
    """The best of each run against its costs, with the Pareto front."""
    kinds = (
        ("time", "minutes", [row.seconds / 60 for row in rows]),
        ("trained parameters", "trained parameters", [row.trained for row in rows]),
        ("cost", "device hours", [row.device_hours for row in rows]),
    )
    found = []
    for title, unit, values in kinds:
        known = [
            (at, x, row.best.value) for at, (x, row) in enumerate(zip(values, rows, strict=True)) if x and row.best
        ]
        if len(known) > 1 and (title != "cost" or len({x for _, x, _ in known}) > 1):
            order = front([(x, y) for _, x, y in known], mode)
            points = {"runs": [at for at, *_ in known], "x": [x for _, x, _ in known], "y": [y for *_, y in known]}
            found.append({"title": title, "unit": unit, **points, "front": order})
    return found


def _is_repeated(name: str, names: Sequence[str]) -> bool:
    """Whether another metric says the same: Lightning logs some by step and by epoch."""
    return any(name.endswith(ending) and name.removesuffix(ending) in names for ending in _REPEATED)
