"""The costs of a fit: trained parameters and device time."""

import time
from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from plt_nn.callbacks.lightning.run_logger import run_loggers
from plt_nn.tracking import tags


class FitCosts(Callback):
    """Logs the costs of a fit, so that runs can be compared by them.

    - `cost/parameters` and `cost/trained_parameters`: how many there are, and how many require gradients; at the
      beginning and in each phase of a `FreezingSchedule`.
    - `cost/most_trained_parameters`: the largest number of them so far.
    - `cost/device_hours`: hours times devices (processes), after each epoch and at the end; a resumed run
      continues from its checkpoint.

    The tag `devices` names the devices of the fit.
    """

    def __init__(self) -> None:
        self._hours = 0.0  # before this process
        self._restored: dict[str, Any] | None = None
        self._began, self._devices = 0.0, 0  # none before a fit
        self._most = 0
        self._is_due = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock."""
        state, self._restored = self._restored, None
        self._hours, self._most = (state["hours"], state["most"]) if state is not None else (0.0, 0)
        self._began, self._devices, self._is_due = time.monotonic(), trainer.world_size, True
        for logger in run_loggers(trainer):
            logger.log_tags({tags.DEVICES: devices(trainer)})

    def on_phase_start(self, trainer: Trainer, pl_module: LightningModule, number: int, batch_idx: int) -> None:
        """Counts again when the next batch comes."""
        self._is_due = True

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Counts parameters, once in each phase: only now has every callback frozen its layers."""
        if not self._is_due:
            return
        self._is_due = False
        sizes = [(parameter.numel(), parameter.requires_grad) for parameter in pl_module.parameters()]
        trained = sum(size for size, is_trained in sizes if is_trained)
        self._most = max(self._most, trained)
        counts = {"parameters": sum(size for size, _ in sizes), "trained_parameters": trained}
        _log(trainer, counts | {"most_trained_parameters": self._most})

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs the time so far."""
        _log(trainer, {"device_hours": self._so_far()})

    on_fit_end = on_train_epoch_end

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Logs the time, if training has begun."""
        if trainer.global_step > 0:
            self.on_train_epoch_end(trainer, pl_module)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forgets what a checkpoint held: it was for this fit, or loaded to validate."""
        self._restored = None

    def state_dict(self) -> dict[str, Any]:
        """The time of this fit so far, and the most parameters that were trained."""
        return {"hours": self._so_far(), "most": self._most}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keeps the state for the start of the fit."""
        self._restored = state_dict

    def _so_far(self) -> float:
        return self._hours + (time.monotonic() - self._began) * self._devices / 3600


def devices(trainer: Trainer) -> str:
    """The devices of a trainer, such as `2 x NVIDIA H100`."""
    device = trainer.strategy.root_device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper()
    return f"{trainer.world_size} x {name}"


def _log(trainer: Trainer, metrics: Mapping[str, float]) -> None:
    for logger in run_loggers(trainer):
        logger.log_metrics({f"cost/{name}": float(value) for name, value in metrics.items()}, step=trainer.global_step)
