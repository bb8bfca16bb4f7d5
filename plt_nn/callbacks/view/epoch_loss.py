"""The mean training loss of an epoch so far, without waiting for the device that computes it."""

from typing import Any

import torch
from torch import Tensor

_FLUSH = 64  # losses that wait to be added up


class EpochLoss:
    """Collects the losses of steps, at the price of appending to a list."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begins an epoch."""
        self._waiting: list[Tensor] = []
        self._total: Tensor | None = None
        self._count = 0
        self._copy: tuple[Tensor, Any] | None = None  # on its way from the device, and what tells its arrival
        self._arrived: float | None = None

    def add(self, outputs: Any) -> None:
        """Adds what a training step has returned, if it holds a loss."""
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if isinstance(loss, Tensor) and loss.numel() == 1:
            self._waiting.append(loss)
            if len(self._waiting) >= _FLUSH:
                self._add_up()

    def glance(self) -> float | None:
        """The mean as far as it can be told without waiting: on a GPU that of the glance before, or of one earlier."""
        if self._copy is not None and self._copy[1].query():
            self._arrived, self._copy = float(self._copy[0]), None
        if self._copy is None and (mean := self._mean()) is not None:
            if mean.device.type != "cuda":
                return float(mean)
            there = mean.to("cpu", non_blocking=True)  # into pinned memory
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record(torch.cuda.current_stream(mean.device))
            self._copy = (there, event)
        return self._arrived

    def value(self) -> float | None:
        """The mean; waits for it."""
        mean = self._mean()
        return None if mean is None else float(mean)

    def _mean(self) -> Tensor | None:
        self._add_up()
        return None if self._total is None else self._total / self._count

    def _add_up(self) -> None:
        if not self._waiting:
            return
        with torch.no_grad():
            total = torch.stack([loss.detach().reshape(()) for loss in self._waiting]).float().sum()
        self._total = total if self._total is None else self._total + total
        self._count += len(self._waiting)
        self._waiting = []
