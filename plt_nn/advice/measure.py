"""What is measured of a candidate for a plan."""

from collections.abc import Sequence
from pathlib import Path

import torch

from plt_nn.advice.build import build_net, model_args, preprocessing_of
from plt_nn.advice.images import Images
from plt_nn.advice.net_costs import batchnorm_shift, flops_of, seconds_per_epoch, trained_names
from plt_nn.advice.plans import MeasuredCandidate
from plt_nn.advice.ranking import ScoredCandidate

_LOOKED_AT = 64  # images


def measure(judged: ScoredCandidate, paths: Sequence[Path], rows: Sequence[int]) -> MeasuredCandidate:
    """Measures a candidate.

    Args:
        judged: The candidate and its evidence.
        paths: The training images.
        rows: The numbers of some of them, of all classes.
    """
    net = build_net(judged.candidate)
    preprocessing = preprocessing_of(net, judged.candidate)
    chosen = torch.tensor(list(rows[:_LOOKED_AT]))
    batch = next(Images(paths).batches([chosen], preprocessing.evaluation_transform()))
    size = preprocessing.size if isinstance(preprocessing.size, int) else preprocessing.size[0]
    flops = {depth.train: flops_of(net, size, trained_names(net, depth.stages)) for depth in judged.depths}
    forward = judged.costs.forward
    seconds = seconds_per_epoch(forward, judged.seconds, flops, len(paths)) if forward else {}
    return MeasuredCandidate(batchnorm_shift(net, batch), seconds, model_args(net))
