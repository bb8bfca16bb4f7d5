"""Trials of plans: each is fine-tuned on some images and measured on others."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, seed_everything

from plt_nn.advice.plans import BATCH, LR, Plan
from plt_nn.advice.probes.probe import stratified_folds
from plt_nn.advice.trial_trainers import trial_trainer
from plt_nn.backbones import create_backbone
from plt_nn.callbacks import BestLossStopping, FreezingSchedule, FrozenFeatureCache
from plt_nn.data import ImageFolderData
from plt_nn.freezing import parse_phases
from plt_nn.modules import Classifier


@dataclass(frozen=True)
class Verified:
    """The result of a plan: accuracy and loss of the best weights on the held-out images, and the time that it took."""

    plan: Plan
    accuracy: float
    loss: float
    seconds: float


def fine_tune(
    plan: Plan,
    images: ImageFolderData,
    store: Path,
    samples: dict[str, list[tuple[Path, int]]] | None = None,
    seed: int = 0,
    device: str = "cpu",
    callbacks: Sequence[Callback] = (),
) -> Verified:
    """Fine-tunes by a plan.

    Args:
        plan: The plan.
        images: The images, set up.
        store: The folder of cached features.
        samples: `train` and `val` -> pairs of path and class code. Default: four fifths of the training images, and the
            rest of them.
        seed: Seed of the training.
        device: Device of the training.
        callbacks: Further callbacks.
    """
    began = time.monotonic()
    seed_everything(seed, verbose=False)
    candidate = plan.candidate
    data = ImageFolderData(images.root, BATCH, candidate.size, candidate.crop_pct, [], *images.fractions, num_workers=0)
    data.check_images = False
    data.samples = dict(samples or _fifths(images.samples["train"]))
    net = create_backbone(candidate.name, candidate.pretrained, model_args=dict(plan.model_args))
    model = Classifier(net, optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=LR))
    stopping = BestLossStopping(monitor="val_loss", patience=plan.patience)
    schedule = FreezingSchedule(phases=parse_phases([dict(phase) for phase in plan.phases]))
    every = [*callbacks, schedule, stopping, FrozenFeatureCache(folder=str(store))]
    with trial_trainer(device, plan.epochs, every) as trainer:
        trainer.fit(model, datamodule=data)
        measured: Any = trainer.validate(model, datamodule=data, verbose=False)[0]
    return Verified(plan, float(measured["val_acc"]), float(measured["val_loss"]), time.monotonic() - began)


def _fifths(samples: Sequence[tuple[Path, int]]) -> dict[str, list[tuple[Path, int]]]:
    held_out = stratified_folds(np.array([code for _, code in samples]), seed=1) == 0
    pairs = list(zip(samples, held_out, strict=True))
    return {"train": [one for one, is_held in pairs if not is_held], "val": [one for one, is_held in pairs if is_held]}
