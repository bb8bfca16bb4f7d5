"""The mean training loss of an epoch so far, without waiting for the device that computes it."""

from typing import Any

import torch
from torch import Tensor


class EpochLoss:
    """Adds up the losses of an epoch's steps on their device."""

    def __init__(self) -> None:
        self._sum: Tensor | None = None
        self._count = 0
        self._copy: tuple[Tensor, Any] | None = None  # which may still be on its way from the GPU, and its arrival
        self._latest: float | None = None

    def add(self, outputs: Any) -> None:
        """Adds what a training step has returned, if it contains a loss."""
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if isinstance(loss, Tensor) and loss.numel() == 1:
            loss = loss.detach() if loss.requires_grad else loss  # each call counts in a small net's step
            self._sum = loss.float() if self._sum is None else self._sum + loss
            self._count += 1

    def mean(self) -> float | None:
        """The mean of all losses; waits for the device."""
        return None if self._sum is None else float(self._sum / self._count)

    def latest(self) -> float | None:
        """The mean as far as it is known without waiting: on a GPU, that of this call or of an earlier one."""
        if self._sum is None or self._sum.device.type != "cuda":
            return self.mean()
        if self._copy is not None and self._copy[1].query():
            self._latest, self._copy = float(self._copy[0]), None
        if self._copy is None:
            arrival = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._copy = ((self._sum / self._count).to("cpu", non_blocking=True), arrival)  # into pinned memory
            arrival.record(torch.cuda.current_stream(self._sum.device))
        return self._latest
