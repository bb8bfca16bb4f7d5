"""Trials of plans: each is fine-tuned on a part of the training images and measured on the rest."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, seed_everything

from plt_nn.advice.plans import BATCH, LR, Plan
from plt_nn.advice.probes.probe import Labels, stratified_folds
from plt_nn.advice.trial_trainers import trial_trainer
from plt_nn.backbones import create_backbone
from plt_nn.callbacks import BestLossStopping, FreezingSchedule, FrozenFeatureCache
from plt_nn.data import ImageFolderData
from plt_nn.freezing import parse_phases
from plt_nn.modules import Classifier


@dataclass(frozen=True)
class Verified:
    """The result of a plan.

    Args:
        plan: The plan.
        accuracy: Accuracy of the best weights on the held-out images.
        loss: The best loss on them.
        seconds: The time that it took.
    """

    plan: Plan
    accuracy: float
    loss: float
    seconds: float


def verify(plan: Plan, data: ImageFolderData, store: Path, seed: int = 0, device: str = "cpu") -> Verified:
    """Fine-tunes by a plan on four fifths of the training images.

    Args:
        plan: The plan.
        data: The images, set up; the validation and test images are not used.
        store: The folder of cached features.
        seed: Seed of the training.
        device: Device of the training.
    """
    samples = data.samples["train"]
    labels: Labels = np.array([code for _, code in samples], dtype=np.int64)
    held_out = stratified_folds(labels, seed=1) == 0
    part = {
        name: [samples[at] for at in np.flatnonzero(mask)] for name, mask in (("train", ~held_out), ("val", held_out))
    }
    return fine_tune(plan, data, part, store, seed, device)


def fine_tune(
    plan: Plan,
    images: ImageFolderData,
    samples: dict[str, list[tuple[Path, int]]],
    store: Path,
    seed: int = 0,
    device: str = "cpu",
    callbacks: Sequence[Callback] = (),
) -> Verified:
    """Fine-tunes by a plan.

    Args:
        plan: The plan.
        images: The images, set up.
        samples: `train` and `val` -> pairs of path and class code.
        store: The folder of cached features.
        seed: Seed of the training.
        device: Device of the training.
        callbacks: Further callbacks.
    """
    began = time.monotonic()
    seed_everything(seed, verbose=False)
    candidate = plan.candidate
    data = ImageFolderData(images.root, BATCH, candidate.size, candidate.crop_pct, [], *images.fractions, num_workers=0)
    data.check_images = False
    data.samples = dict(samples)
    net = create_backbone(candidate.name, candidate.pretrained, model_args=dict(plan.model_args))
    model = Classifier(net, optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=LR))
    stopping = BestLossStopping(monitor="val_loss", patience=plan.patience)
    schedule = FreezingSchedule(phases=parse_phases([dict(phase) for phase in plan.phases]))
    every = [*callbacks, schedule, stopping, FrozenFeatureCache(folder=str(store))]
    with trial_trainer(device, plan.epochs, every) as trainer:
        trainer.fit(model, datamodule=data)
        measured: Any = trainer.validate(model, datamodule=data, verbose=False)[0]
    return Verified(plan, float(measured["val_acc"]), float(measured["val_loss"]), time.monotonic() - began)


def by_outcome(found: Sequence[Verified]) -> list[Verified]:
    """Results in the order of their loss, the best first."""
    return sorted(found, key=lambda one: one.loss)
