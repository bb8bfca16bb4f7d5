"""Random numbers that depend on where a run is, not on how it got there."""

import hashlib
import os
import random
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.utils.data import DataLoader, IterableDataset

from plt_nn.callbacks.lightning.callback_order import sort_callbacks
from plt_nn.callbacks.lightning.loops import LoopLoaders, batches_done
from plt_nn.callbacks.resume.exact_resume import ExactResume

Purpose = Literal["fit", "epoch", "fetch", "step", "validation"]


def step_seed(seed: int, rank: int, epoch: int, batch: int, purpose: Purpose) -> int:
    """The seed of the random numbers at one place of a run.

    Args:
        seed: The seed of the run.
        rank: The process.
        epoch: The epoch, from 0.
        batch: The batch in the epoch, from 0.
        purpose: What the random numbers are for.

    Returns:
        A number of 64 bits; each place has its own.
    """
    place = f"{seed} {rank} {epoch} {batch} {purpose}"
    return int.from_bytes(hashlib.blake2b(place.encode(), digest_size=8).digest())


class StepSeeds(Callback):
    """Seeds torch, numpy and Python at each batch, so that a resumed run draws the same random numbers.

    The seed of a batch is a hash of the run's seed, the process, the epoch and the batch. A run that is resumed, at the
    end of an epoch or in the middle, draws the same numbers for dropout, stochastic depth and augmentation as the
    uninterrupted run, and the checkpoint holds no state of a generator. With another number of processes it draws
    others. A loader with `shuffle=True`, and its workers, are seeded at each epoch, with the same number on every
    process. Outside of `fit` nothing is seeded.

    The run's seed is that of `lightning.seed_everything`. Without one it is drawn from torch's generator on process 0.
    The checkpoint holds it, and a resumed run uses it.

    A loader that is no `DataLoader`, is resumable by itself or reads an `IterableDataset` is responsible for its own
    order. With `persistent_workers=True` the order is the same, but the workers' random numbers are not: torch seeds
    workers only once.

    Example:
        >>> from lightning.pytorch import Trainer, seed_everything
        >>> from plt_nn import MLP, Regressor, SyntheticRegressionData
        >>> from plt_nn.callbacks import StepSeeds
        >>> seeds, _ = StepSeeds(), seed_everything(7)
        >>> quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        >>> trainer = Trainer(accelerator="cpu", max_epochs=1, callbacks=[seeds], enable_checkpointing=False, **quiet)
        >>> trainer.fit(Regressor(MLP(2, [8], 1, dropout=0.5)), SyntheticRegressionData())
        >>> seeds.seed
        7
    """

    def __init__(self) -> None:
        self.seed: int | None = None
        self._restored: int | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Adds the callback that continues a resumed run exactly where its checkpoint was made."""
        if stage == "fit":
            sort_callbacks(trainer, ExactResume)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Chooses the run's seed; Lightning makes the first iterator of the training loader soon after this."""
        self.seed = trainer.strategy.broadcast(_run_seed() if self._restored is None else self._restored)
        self._seed(trainer, "fit", 0)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Seeds the reading of the next batch, which a resumed run takes from the middle of an epoch."""
        if self._restored is not None:  # some strategies load a checkpoint only after `on_fit_start`
            self.seed, self._restored = self._restored, None
        self._seed(trainer, "fetch", batches_done(trainer))

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Seeds the epoch's iterator, the same on all processes, because a sampler may rely on that."""
        self._seed(trainer, "epoch", 0, rank=0)
        if trainer.fit_loop.is_resuming:
            _iterate_anew(trainer)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Seeds the training step."""
        self._seed(trainer, "step", batch_idx)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Seeds the reading of the next batch."""
        self._seed(trainer, "fetch", batch_idx + 1)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Seeds a validation within a fit."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._seed(trainer, "validation", batches_done(trainer))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Seeds the reading of the next batch, whatever random numbers the validation has drawn."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._seed(trainer, "fetch", batches_done(trainer))

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forgets the state of a checkpoint, which was for this fit, or loaded to validate."""
        self._restored = None

    def state_dict(self) -> dict[str, Any]:
        """The run's seed."""
        return {"seed": self.seed}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Stores the run's seed for the fit."""
        self._restored = state_dict["seed"]

    def _seed(self, trainer: Trainer, purpose: Purpose, batch: int, rank: int | None = None) -> None:
        assert self.seed is not None, "random numbers were seeded outside a fit"
        rank = trainer.global_rank if rank is None else rank
        seed = step_seed(self.seed, rank, trainer.current_epoch, batch, purpose)
        _seed_generators(seed, trainer.strategy.root_device)


def _seed_generators(seed: int, device: torch.device) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    if device.type == "cpu":  # while CUDA is there but not in use, torch.manual_seed takes a third of a millisecond
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


def _run_seed() -> int:
    given = os.environ.get("PL_GLOBAL_SEED")
    return int(torch.randint(2**63 - 1, ())) if given is None else int(given)


def _iterate_anew(trainer: Trainer) -> None:
    """Makes the iterator of a resumed run's first epoch again, now that its random numbers and epoch are known.

    Lightning makes the iterators of later epochs at this place. That of the first one it makes before it sets the
    sampler's epoch, so workers that read ahead would read in the order of epoch 0.
    """
    loaders = LoopLoaders(trainer, "training")
    if all(map(_can_iterate_anew, loaders.combined.flattened)):
        loaders.replace_iterator()


def _can_iterate_anew(loader: object) -> bool:
    is_data_loader = isinstance(loader, DataLoader) and not isinstance(loader.dataset, IterableDataset)
    return is_data_loader and not hasattr(loader, "load_state_dict")
