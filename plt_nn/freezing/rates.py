"""The factor of each phase on the learning rate of each stage. Pure."""

from collections.abc import Sequence

from plt_nn.freezing.phases import Phase
from plt_nn.freezing.plan import StageLike


def stage_factors(phase: Phase, stages: Sequence[StageLike]) -> dict[str, float]:
    """The factor on the learning rate of each stage while the phase lasts, after its warm-up.

    The last stage that has parameters gets `lr_scale`, and each stage before it `layer_decay` times the factor of the
    one behind it (layer-wise decay: Clark et al. 2020, ELECTRA, https://arxiv.org/abs/2003.10555; for images Bao et al.
    2021, BEiT, https://arxiv.org/abs/2106.08254).
    """
    filled = [stage.name for stage in stages if stage.parameters]
    distance = {name: len(filled) - 1 - place for place, name in enumerate(filled)}
    return {name: phase.lr_scale * phase.layer_decay ** distance[name] for name in filled}


def warmup_factor(phase: Phase, steps: int) -> float:
    """The factor of the phase's linear warm-up (Goyal et al. 2017, https://arxiv.org/abs/1706.02677).

    Args:
        phase: The phase.
        steps: Optimizer steps since the phase began; the first step has 0 behind it and gets 1 / `warmup`.
    """
    return min(1.0, (steps + 1) / phase.warmup) if phase.warmup > 0 else 1.0
