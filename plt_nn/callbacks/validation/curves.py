"""The course of metrics over a fit, in bounded memory. Pure: no Trainer."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MOST_POINTS = 512  # of a curve: more than a figure has room for
_MOST_CURVES = 48


class Curves:
    """Values of metrics against the epochs trained so far, those of validation and those of training apart.

    A curve that gets too long loses every other of its points, so that a fit of any length is kept in outline.
    """

    def __init__(self) -> None:
        self.validation: dict[str, list[tuple[float, float]]] = {}
        self.training: dict[str, list[tuple[float, float]]] = {}

    def add_validation(self, at: float, metrics: Mapping[str, float]) -> None:
        """Adds the metrics of a validation.

        Args:
            at: Epochs trained so far, with a fraction within an epoch.
            metrics: The values by name.
        """
        _add(self.validation, at, metrics)

    def add_training(self, at: float, metrics: Mapping[str, float]) -> None:
        """Adds the losses of an epoch of training, and what is named after it (`train_acc`).

        Of what is logged by step and by epoch, the value of the epoch is taken.

        Args:
            at: Epochs trained so far.
            metrics: The values by name; others among them, such as those of a validation, are passed over.
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

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "Curves":
        """The inverse of `to_state`."""
        curves = cls()
        for kept, given in ((curves.validation, state["validation"]), (curves.training, state["training"])):
            kept.update({name: [(at, value) for at, value in points] for name, points in given.items()})
        return curves


def _own_names(names: Iterable[str]) -> list[str]:
    known = {name for name in names if "loss" in name or "train" in name}
    repeated = {f"{name}{ending}" for name in known for ending in ("_step", "_epoch")}
    steps = {name for name in known if name.endswith("_step") and name.removesuffix("_step") + "_epoch" in known}
    return sorted(known - repeated - steps)


def _add(curves: dict[str, list[tuple[float, float]]], at: float, metrics: Mapping[str, float]) -> None:
    for name, value in metrics.items():
        if name not in curves and len(curves) >= _MOST_CURVES:
            continue
        points = curves.setdefault(name, [])
        points.append((at, value))
        if len(points) > _MOST_POINTS:
            del points[1::2]
