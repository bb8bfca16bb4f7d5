"""The loaders of Lightning's loops, and the iterator that Lightning has made of them."""

from typing import Any, Literal

from lightning.pytorch import Trainer

Split = Literal["training", "validation", "test"]


class LoopLoaders:
    """The loaders that one loop reads.

    Args:
        trainer: The trainer; its loop must have set up its data.
        split: Which loaders; those of validation are the fit's during a fit.
    """

    def __init__(self, trainer: Trainer, split: Split) -> None:
        loop: Any = trainer.test_loop
        if split == "training":
            loop = trainer.fit_loop
        elif split == "validation":
            loop = trainer.fit_loop.epoch_loop.val_loop if trainer.state.fn == "fit" else trainer.validate_loop
        self._fetcher: Any = loop._data_fetcher
        self.combined: Any = self._fetcher.combined_loader

    def are_read_together(self) -> bool:
        """Whether there are several loaders, and each step gets a batch of each."""
        return len(self.combined.flattened) > 1 and self.combined._mode != "sequential"

    def has_unused_iterator(self) -> bool:
        """Whether Lightning knows the number of batches, and has taken none from its iterator yet."""
        return self._fetcher.length is not None and self._fetcher.fetched == 0

    def replace_iterator(self) -> None:
        """Makes a new iterator, of the loaders that are there now."""
        iter(self._fetcher)
