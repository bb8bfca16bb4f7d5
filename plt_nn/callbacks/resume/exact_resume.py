"""Does, when a run is resumed, what was due just when its checkpoint was made."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from plt_nn.callbacks.lightning.loops import correct_logged_step, finish_restart


class ExactResume(Callback):
    """Lets a resumed run do exactly what the uninterrupted run would have done after the checkpoint.

    `ModelCheckpoint(every_n_train_steps=...)` makes its checkpoint at the end of a batch. Where a validation or the end
    of the epoch is due right after that batch, Lightning skips it when it resumes, so the resumed run misses a check
    and differs from then on. With `max_steps` it repeats the end of an epoch that had ended, and counts that epoch
    twice. After a batch that was interrupted, or a SIGTERM during a validation, it counts one step too many for the
    loggers.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Ends the epoch, or has the validation done before the next batch."""
        finish_restart(trainer)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Corrects the step under which loggers log."""
        correct_logged_step(trainer)
