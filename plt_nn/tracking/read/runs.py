"""Runs as they are read back: plain values, wherever they come from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from plt_nn.tracking import tags

VANISHED = "The training process was gone without a word: killed, out of memory, or its machine stopped."  # a `FAILURE`


class Point(NamedTuple):
    """The last row of a metric."""

    value: float  # perhaps NaN
    step: int
    time: int  # milliseconds since 1970


class History(NamedTuple):
    """All rows of a metric, one a step in the order of the steps; each array has the shape `(N,)`."""

    steps: NDArray[np.int64]
    values: NDArray[np.float64]  # NaN where the metric was not finite
    times: NDArray[np.int64]  # milliseconds since 1970

    @property
    def last(self) -> Point:
        """The row of the highest step."""
        return Point(float(self.values[-1]), int(self.steps[-1]), int(self.times[-1]))

    def at(self, step: int) -> float | None:
        """The value at a step; None if there is none."""
        found = self.values[self.steps == step]
        return float(found[0]) if len(found) and np.isfinite(found[0]) else None


@dataclass(frozen=True)
class RunRecord:
    """A run."""

    id: str  # MLflow's id, or the uid of a run that MLflow does not know yet
    name: str  # its name in the MLflow UI
    experiment: str  # its experiment's name
    status: str  # RUNNING, FINISHED, FAILED or KILLED
    began: int  # milliseconds since 1970
    ended: int | None = None  # the same; None while it runs
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    last: Mapping[str, Point] = field(default_factory=dict)  # the last row of each metric
    data: Mapping[str, str] = field(default_factory=dict)  # digests of the data used, by context (`training` ...)
    artifacts: str | None = None  # the address of its artifacts, where that is known

    @property
    def uid(self) -> str | None:
        """Its uid; None for a run of another logger."""
        return self.tags.get(tags.UID)

    def metrics(self, names: Sequence[str] | None = None) -> list[str]:
        """The names of its metrics, or those of some names that it has."""
        return [name for name in (self.last if names is None else names) if name in self.last]

    @property
    def last_sign(self) -> int:
        """When it last logged something; milliseconds since 1970."""
        return max([self.began, self.ended or 0, *(point.time for point in self.last.values())])


Histories = dict[str, dict[str, History]]  # by a run's id and a metric's name


def history_of(rows: Any) -> History:
    """A history from rows of step, value and time `(N, 3)` in any order; the latest of a step counts."""
    table = np.array(rows, dtype=np.float64).reshape(-1, 3)  # steps and milliseconds are whole numbers far below 2^53
    table = table[np.lexsort((table[:, 2], table[:, 0]))]
    table = table[np.append(table[1:, 0] != table[:-1, 0], True)[: len(table)]]
    return History(table[:, 0].astype(np.int64), table[:, 1].copy(), table[:, 2].astype(np.int64))
