"""Does, when a run is resumed, what was due just when its checkpoint was made."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer


class DueValidation(Callback):
    """Runs the validation that was due when the checkpoint of a resumed run was made.

    `ModelCheckpoint(every_n_train_steps=...)` makes its checkpoint at the end of a batch. Where a validation, or the
    end of the epoch, comes right after that batch, Lightning leaves it out when it resumes: the run would miss a check,
    and differ from then on from the run that was never interrupted. Checkpoints made elsewhere need nothing of this.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Ends the batch, and the epoch if it was its last, as Lightning would have done."""
        fit, epoch = trainer.fit_loop, trainer.fit_loop.epoch_loop
        if not epoch.restarted_on_train_batch_end or fit._data_fetcher is None:
            return
        ends_epoch = epoch.batch_progress.is_last_batch
        stepped = epoch._batches_that_stepped
        restarting, fit._restarting = fit._restarting, False  # else plateau schedulers would not be told the metric
        epoch.val_loop.restarting = False
        if ends_epoch:  # Lightning has already counted the epoch as done
            _take_back_one(fit.epoch_progress.current)
            _take_back_one(fit.epoch_progress.total)
        epoch.on_advance_end(fit._data_fetcher)
        if ends_epoch:
            fit.on_advance_end()
        fit._restarting = restarting
        epoch._batches_that_stepped = stepped  # Lightning counts this batch when it goes on


def _take_back_one(counts: Any) -> None:
    counts.processed -= 1
    counts.completed -= 1
