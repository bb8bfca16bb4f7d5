"""How far a net's pretrained features carry, and how many of its layers are worth training.

What a stage's features tell linearly is what the layers up to it have done for the task. Features of several stages
together stand for what fine-tuning these stages can reach: where a linear classifier gains from the features of earlier
stages, so does fine-tuning (Evci et al. 2022, "Head2Toe", https://arxiv.org/abs/2201.03529).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from plt_nn.advice.probes.probe import Floats, Labels, LinearProbe, is_worse, linear_probe
from plt_nn.advice.probes.stage_features import LAST

HEAD_ONLY = 0


@dataclass(frozen=True)
class Depth:
    """Training a number of stages, and the evidence for it.

    Args:
        stages: How many stages before the head are trained, counted from the head; `HEAD_ONLY` for none.
        train: The same as `FreezingSchedule` takes it.
        probe: The probe on the features of these stages and of the last feature.
    """

    stages: int
    train: str
    probe: LinearProbe


def depths_of(body: int) -> list[int]:
    """The numbers of stages that are tried: none, a quarter, half, and all of them.

    Args:
        body: How many stages there are before the head.
    """
    return sorted({HEAD_ONLY, math.ceil(body / 4), math.ceil(body / 2), body})


def selection(stages: int, body: int) -> str:
    """How `FreezingSchedule` is told to train so many stages and the head."""
    if stages == HEAD_ONLY:
        return "head"
    return "all" if stages == body else f"last {stages} stages"


def probe_depths(features: Mapping[str, Floats], labels: Labels, folds: Labels, body: Sequence[str]) -> list[Depth]:
    """The evidence for each number of stages, from the head alone to all.

    Args:
        features: Stage -> features `(N, D)` (`StageFeatures`).
        labels: The class of each sample.
        folds: The fold of each sample.
        body: The names of all stages before the head, from input on.
    """
    return [
        Depth(
            count,
            selection(count, len(body)),
            linear_probe(
                [*(features[name] for name in body[len(body) - count :] if name in features), features[LAST]],
                labels,
                folds,
            ),
        )
        for count in depths_of(len(body))
    ]


def advised_depth(depths: Sequence[Depth]) -> Depth:
    """The head alone where its evidence is not worse, beyond chance, than the best; else the best.

    The head alone costs a tenth, and cannot spoil what was pretrained; of several stages fewer cost only a little less.

    Args:
        depths: From the head alone to all.
    """
    best = min(depths, key=lambda depth: depth.probe.log_loss)
    return best if is_worse(depths[0].probe, best.probe) else depths[0]
