"""The metrics of a fit over its epochs, in bounded memory. Pure: no Trainer."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MOST_POINTS = 512  # of a curve: more than a figure has room for
_MOST_CURVES = 48

Points = dict[str, list[tuple[float, float]]]


class MetricCurves:
    """Values of metrics by the epochs trained so far (with a fraction within an epoch), of validation and of training.

    A curve that gets too long loses every other of its points, so that the outline of a fit of any length remains.
    """

    def __init__(self, state: Mapping[str, Any] | None = None) -> None:
        """Empty, or as `to_state` gave it."""
        self.validation, self.training = Points(), Points()
        for curves, name in ((self.validation, "validation"), (self.training, "training")):
            curves |= {metric: [*map(tuple, points)] for metric, points in (state or {}).get(name, {}).items()}

    def add_validation(self, at: float, metrics: Mapping[str, float]) -> None:
        """Adds the metrics of a validation."""
        _add(self.validation, at, metrics)

    def add_training(self, at: float, metrics: Mapping[str, float]) -> None:
        """Adds the losses of an epoch of training, and what is named after it (`train_acc`).

        Of a metric that is logged by step and by epoch, the value of the epoch is taken. Other metrics, such as those
        of a validation, are ignored.
        """
        own = _own_names(name for name in metrics if name not in self.validation)
        _add(self.training, at, {name: metrics[name] for name in own})

    def arrays(self) -> tuple[dict[str, NDArray[np.float64]], dict[str, NDArray[np.float64]]]:
        """The curves of validation and of training by name, each `(N, 2)`: epochs trained and value."""
        validation = {name: np.array(points) for name, points in self.validation.items()}
        return validation, {name: np.array(points) for name, points in self.training.items()}

    def to_state(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        return {"validation": self.validation, "training": self.training}


def _own_names(names: Iterable[str]) -> list[str]:
    known = {name for name in names if "loss" in name or "train" in name}
    repeated = {f"{name}{ending}" for name in known for ending in ("_step", "_epoch")}
    steps = {name for name in known if name.endswith("_step") and name.removesuffix("_step") + "_epoch" in known}
    return sorted(known - repeated - steps)


def _add(curves: Points, at: float, metrics: Mapping[str, float]) -> None:
    for name, value in metrics.items():
        if name in curves or len(curves) < _MOST_CURVES:
            points = curves.setdefault(name, [])
            points.append((at, value))
            if len(points) > _MOST_POINTS:
                del points[1::2]
