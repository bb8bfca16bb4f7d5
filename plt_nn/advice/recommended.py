"""A plan as a configuration for `plt-nn fit`."""

import textwrap
from collections.abc import Mapping
from typing import Any

import yaml

from plt_nn.advice.plans import BATCH, LR, Plan


def configuration(plan: Plan, folder: Mapping[str, Any], seed: int = 0) -> dict[str, Any]:
    """The plan as the keys of `plt-nn fit`.

    Args:
        plan: The plan.
        folder: The arguments of `ImageFolderData` for the folder and its split. With another split, images that helped
            to choose the net would be used to measure it.
        seed: The seed of `seed_everything`.
    """
    candidate = plan.candidate
    backbone: dict[str, Any] = {"name": candidate.name, "pretrained": candidate.pretrained}
    if plan.model_args:
        backbone["model_args"] = dict(plan.model_args)
    data: dict[str, Any] = {**folder, "image_size": candidate.size, "batch_size": BATCH, "augment": []}
    if candidate.crop_pct is not None:
        data["crop_pct"] = candidate.crop_pct
    callbacks = [
        {"class_path": "plt_nn.FreezingSchedule", "init_args": {"phases": [dict(phase) for phase in plan.phases]}},
        {"class_path": "plt_nn.BestLossStopping", "init_args": {"monitor": "val_loss", "patience": plan.patience}},
    ]
    return {
        "seed_everything": seed,
        "trainer": {
            "max_epochs": plan.epochs,
            "log_every_n_steps": 5,
            "enable_model_summary": False,
            "callbacks": callbacks,
        },
        "model": {
            "class_path": "plt_nn.Classifier",
            "init_args": {
                "net": {"class_path": "plt_nn.create_backbone", "init_args": backbone},
                "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": LR}},
            },
        },
        "data": {"class_path": "plt_nn.ImageFolderData", "init_args": data},
    }


def as_yaml(plan: Plan, folder: Mapping[str, Any], command: str, reasons: list[str]) -> str:
    """The configuration as the text of a file, with the evidence in comments.

    Args:
        plan: The plan.
        folder: As in `configuration`.
        command: The command that made the plan.
        reasons: The evidence for the net; the plan has the evidence for the other choices.
    """
    comments = ["Made by: " + command, *reasons, *plan.reasons]
    lines = [line for comment in comments for line in textwrap.wrap(comment, 116, subsequent_indent="  ")]
    header = "".join(f"# {line}\n" for line in lines)
    return header + yaml.safe_dump(configuration(plan, folder), sort_keys=False, width=110)
