"""The weights of the best moment: copied in memory as far as they can change, on disk as safetensors, and restored."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from safetensors.torch import save_file
from torch import Tensor, nn

from plt_nn.callbacks.lightning.run_logger import run_loggers
from plt_nn.callbacks.model.exported_state import exported_state
from plt_nn.callbacks.stopping.patience import CheckHistory
from plt_nn.files import atomic_write

TensorMap = dict[str, Tensor]


class BestWeights:
    """A copy of everything that may have changed since the best moment.

    A parameter that does not require a gradient is assumed not to change, so it is copied only when it is thawed. (One
    that is changed by hand, such as a teacher's in self-supervised learning, must be a buffer to be copied.) Copies are
    in main memory whatever the device, because the file needs them too.

    Args:
        module: The module whose state is held.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._parameters = list(module.parameters())  # walking over the modules at every step would take longer than it
        self._held: TensorMap | None = None
        self._trained: tuple[bool, ...] = ()

    def capture(self, share: Callable[[TensorMap], TensorMap] = lambda buffers: buffers) -> None:
        """Copies the present weights as the best.

        Args:
            share: Makes the buffers the same on all processes; parameters are the same already. Default: one process.
        """
        buffers = {name for name, _ in self._module.named_buffers()}
        state = _state(self._module)
        trained = {name: _copy(tensor) for name, tensor in state.items() if tensor.requires_grad}
        self._held = trained | share({name: _copy(tensor) for name, tensor in state.items() if name in buffers})
        self._trained = self._trained_now()

    def hold_thawed(self) -> None:
        """Copies the parameters that have been thawed since the best moment; call it before each optimizer step."""
        if self._held is None or (trained := self._trained_now()) == self._trained:
            return
        for name, tensor in _state(self._module).items():
            if tensor.requires_grad and name not in self._held:
                self._held[name] = _copy(tensor)
        self._trained = trained

    def restore(self) -> None:
        """Writes the copies into the module, in place."""
        state = _state(self._module)
        with torch.no_grad():
            for name, tensor in self.held().items():
                state[name].copy_(tensor)

    def state(self) -> TensorMap:
        """The whole state of the module at the best moment."""
        return _state(self._module) | self.held()

    def held(self) -> TensorMap:
        """The copies by name, for a checkpoint."""
        return self._held or {}

    def take(self, held: TensorMap) -> None:
        """The inverse of `held`, after the module has been restored from the same checkpoint.

        What was not copied had not changed since the best moment, so the module's own tensors are used. Buffers are
        copied now, because a forward pass may change them before the first optimizer step.
        """
        buffers = {name for name, _ in self._module.named_buffers()}
        present = {name: tensor for name, tensor in _state(self._module).items() if name in buffers}
        self._held = {name: _copy(tensor) for name, tensor in (present | held).items()}
        self._trained = ()

    def _trained_now(self) -> tuple[bool, ...]:
        return tuple(parameter.requires_grad for parameter in self._parameters)


def save_weights(state: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]) -> None:
    """Writes tensors as safetensors to a temporary file beside `path` and moves it there when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seen: set[int] = set()
    tensors: TensorMap = {}
    for name, tensor in state.items():
        plain = tensor.detach().to("cpu").contiguous()
        tensors[name] = plain.clone() if plain.data_ptr() in seen else plain  # safetensors refuses shared memory
        seen.add(plain.data_ptr())
    with atomic_write(path) as partial:
        save_file(tensors, partial, {"format": "pt", **metadata})


def _state(module: nn.Module) -> TensorMap:
    # The tensors themselves (state_dict detaches them), of what state_dict would save.
    saved = module.state_dict(keep_vars=True)
    return {name: tensor for name, tensor in saved.items() if isinstance(tensor, Tensor)}


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True)


def write_best(trainer: Trainer, weights: BestWeights, path: Path, monitor: str, history: CheckHistory) -> None:
    """Writes the best weights on process 0, under the names that they have outside the fit, and logs the file.

    Args:
        trainer: The trainer; nothing is written in its `fast_dev_run`.
        weights: The best weights.
        path: The file.
        monitor: The metric that chose them.
        history: When they were reached, and with which metrics.
    """
    progress = history.progress
    if progress.best_at is None or not trainer.is_global_zero or getattr(trainer, "fast_dev_run", False):
        return
    epoch, step = progress.best_at.epochs, progress.best_at.steps
    facts = {"monitor": monitor, "value": repr(progress.best), "metrics": json.dumps(history.metrics)}
    state = exported_state(trainer, trainer.lightning_module, weights.state())
    save_weights(state, path, {**facts, "epoch": str(epoch), "step": str(step)})
    for logger in run_loggers(trainer):
        logger.log_model(path, history.metrics, step)


class RestoreBest(Callback):
    """Calls a function after all other callbacks, checkpoint callbacks included, have seen the last weights.

    `BestLossStopping` adds it; its place is in the table of `callback_order`.

    Args:
        restore: Called once a fit has ended, whether by itself or by an exception.
    """

    def __init__(self, restore: Callable[[Trainer], None]) -> None:
        self.restore = restore

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any, **__: Any) -> None:
        """Restores the best weights."""
        self.restore(trainer)

    on_exception = on_fit_end
