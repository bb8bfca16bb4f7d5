"""What a callback implements to be called when a new phase of a freezing schedule begins."""

from typing import Protocol, runtime_checkable

from lightning.pytorch import LightningModule, Trainer

from plt_nn.callbacks.lightning.callback_order import all_callbacks


@runtime_checkable
class PhaseListener(Protocol):
    """A callback that is called at each transition between phases."""

    def on_phase_start(self, trainer: Trainer, pl_module: LightningModule, number: int, batch_idx: int) -> None:
        """Called when the net is frozen and thawed for the new phase, not for the first or a resumed one.

        Args:
            trainer: The trainer.
            pl_module: What it trains.
            number: The phase that begins, counted from 0.
            batch_idx: The batch of the epoch before which it begins.
        """


def phase_listeners(trainer: Trainer) -> list[PhaseListener]:
    """The trainer's callbacks that implement it, in the order in which they are called."""
    return [callback for callback in all_callbacks(trainer) if isinstance(callback, PhaseListener)]
