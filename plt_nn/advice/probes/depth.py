"""How far a net's pretrained features carry, and how many of its layers are worth training.

The accuracy of a linear classifier on a stage's features shows what the layers up to it contribute to the task. The
features of several stages together predict the result of fine-tuning them: if a linear classifier gains from the
features of earlier stages, so does fine-tuning (Evci et al. 2022, "Head2Toe", https://arxiv.org/abs/2201.03529).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from plt_nn.advice.probes.probe import Floats, Labels, LinearProbe, is_worse, linear_probe
from plt_nn.advice.probes.stage_features import LAST

HEAD_ONLY = 0


@dataclass(frozen=True)
class Depth:
    """A number of stages to train, and the evidence for it.

    Args:
        stages: Number of stages before the head that are trained, counted from the head; `HEAD_ONLY` for none.
        train: The same as a phase's `train` in `FreezingSchedule`.
        probe: The probe on the features of these stages and of the last feature.
    """

    stages: int
    train: str
    probe: LinearProbe


def depths_of(body: int) -> list[int]:
    """The numbers of stages that are tried, of those before the head: none, a quarter, half, and all of them."""
    return sorted({HEAD_ONLY, math.ceil(body / 4), math.ceil(body / 2), body})


def selection(stages: int, body: int) -> str:
    """The `train` of a phase that trains this number of stages and the head."""
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
    depths = []
    for count in depths_of(len(body)):
        trained = [features[name] for name in body[len(body) - count :] if name in features]
        probe = linear_probe([*trained, features[LAST]], labels, folds)
        depths.append(Depth(count, selection(count, len(body)), probe))
    return depths


def advised_depth(depths: Sequence[Depth]) -> Depth:
    """The head alone if its evidence is not significantly worse than the best; else the best depth.

    The head alone costs a tenth, and cannot damage pretrained layers. Fewer stages cost only a little less than more.
    """
    best = min(depths, key=lambda depth: depth.probe.log_loss)
    return best if is_worse(depths[0].probe, best.probe) else depths[0]
