"""The best loss of one phase, its weights, and whether it has reached a plateau."""

import math
from collections.abc import Callable
from typing import Any

from torch import nn

from plt_nn.callbacks.stopping.best_weights import BestWeights, TensorMap
from plt_nn.callbacks.stopping.patience import Mode, Moment, Progress, after_check, is_better, patience_left


class PlateauBest:
    """Remembers the lowest loss of a phase and the weights it was reached with.

    Args:
        module: The module whose weights are held.
        mode: `min` if lower is better, `max` if higher is better.
        patience: How many checks may pass without improvement.
    """

    def __init__(self, module: nn.Module, mode: Mode, patience: int) -> None:
        self.mode: Mode = mode
        self.patience = patience
        self.progress = Progress()
        self._checks = 0
        self._weights = BestWeights(module)

    def check(self, value: float, share: Callable[[TensorMap], TensorMap]) -> bool:
        """Takes note of a value; one that is not finite counts as no improvement.

        Args:
            value: The monitored value, the same on all processes.
            share: Makes the buffers the same on all processes.

        Returns:
            Whether patience has run out.
        """
        now = Moment(epochs=0, steps=0, checks=self._checks)
        self._checks += 1
        if math.isfinite(value):
            is_best = is_better(value, self.progress.best, self.mode)
            self.progress = after_check(self.progress, value, now, self.mode, min_delta=0.0)
            if is_best:
                self._weights.capture(share)
        return patience_left(self.progress, now, self.patience, "checks") == 0

    def put_back(self) -> None:
        """Writes the best weights into the module, if there are any."""
        self._weights.put_back()

    def state_dict(self) -> dict[str, Any]:
        """All that is remembered, for a checkpoint."""
        return {"progress": self.progress.to_dict(), "checks": self._checks, "weights": self._weights.held()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`, after the module has been restored from the same checkpoint."""
        self.progress, self._checks = Progress.from_dict(state["progress"]), state["checks"]
        if self.progress.best is not None:
            self._weights.take(state["weights"])
