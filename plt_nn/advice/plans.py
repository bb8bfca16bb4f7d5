"""The plan for fine-tuning that the evidence suggests."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from plt_nn.advice.build import build_net, info_of, preprocessing_of, side_of
from plt_nn.advice.candidates import Candidate
from plt_nn.advice.halving import nested_order
from plt_nn.advice.images import Images
from plt_nn.advice.net_costs import batchnorm_shift, flops_of
from plt_nn.advice.probes.depth import HEAD_ONLY, Depth
from plt_nn.advice.probes.probe import is_worse
from plt_nn.advice.probes.stage_features import LAST
from plt_nn.advice.ranking import LabelledImages, Ranking, ScoredCandidate

BATCH, LR = 32, 1e-3
_MEASURED = 64  # images
_FAR = 0.5  # standard deviations between BatchNorm's means; photographs of ants have 0.2 to 0.3, digits 0.6 to 0.8
# Training steps of a phase, and limits of its epochs. A head alone costs almost nothing, and its patience ends training
# when it no longer improves; features that hardly vary on these images need many steps.
_HEAD_STEPS, _FIRST_STEPS, _DEEP_STEPS = 1280, 80, 320
_HEAD_EPOCHS, _FIRST_EPOCHS, _DEEP_EPOCHS = (4, 160), (1, 10), (6, 30)
_PATIENCE = (4, 10)


@dataclass(frozen=True)
class Plan:
    """How to fine-tune a candidate.

    Args:
        candidate: The net and the size.
        depth: How many of its stages are trained in the last phase.
        phases: The phases of `FreezingSchedule`.
        epochs: The maximum number of epochs.
        patience: The number of epochs without a lower loss after which training stops.
        model_args: Further arguments of `create_backbone`.
        reasons: One sentence of evidence for each choice.
        seconds: The approximate time on this machine; None if it is not known.
    """

    candidate: Candidate
    depth: Depth
    phases: Sequence[Mapping[str, Any]]
    epochs: int
    patience: int
    model_args: Mapping[str, Any]
    reasons: Sequence[str]
    seconds: float | None


@dataclass(frozen=True)
class MeasuredCandidate:
    """Measurements of a candidate for its plan.

    Args:
        shift: See `batchnorm_shift`.
        epoch_seconds: Selection -> seconds of an epoch of training; approximate, if the frozen part is computed once.
        model_args: Further arguments of `create_backbone` for its net.
    """

    shift: float | None
    epoch_seconds: Mapping[str, float]
    model_args: Mapping[str, Any]


def measure_candidate(scored: ScoredCandidate, data: LabelledImages) -> MeasuredCandidate:
    """Measures a candidate on some of the training images."""
    net = build_net(scored.candidate)
    preprocessing = preprocessing_of(net, scored.candidate)
    chosen = torch.from_numpy(nested_order(data.labels)[:_MEASURED])
    batch = next(Images(data.paths).batches([chosen], preprocessing.evaluation_transform()))
    seconds = {}
    for depth in scored.depths:
        flops = flops_of(net, side_of(preprocessing), depth.stages)
        if flops is not None and flops.forward:
            # The forward pass of the trained part costs half of its backward pass.
            seconds[depth.train] = len(data.paths) * scored.seconds * 1.5 * flops.backward / flops.forward
    return MeasuredCandidate(batchnorm_shift(net, batch), seconds, dict(info_of(net).model_args))


def propose(scored: ScoredCandidate, depth: Depth, measured: MeasuredCandidate, samples: int) -> Plan:
    """The plan for a candidate and a depth, for a number of training images."""
    steps = max(1, samples // BATCH)
    seconds: float | None = samples * scored.seconds  # the frozen part, once
    if depth.stages == HEAD_ONLY:
        phases: list[dict[str, Any]] = [{"train": "head"}]
        epochs = _within(_HEAD_STEPS / steps, _HEAD_EPOCHS)
    else:
        head_epochs = _within(_FIRST_STEPS / steps, _FIRST_EPOCHS)
        phases = [{"train": "head"}, {"train": depth.train, "start": head_epochs, "lr_scale": _rate(measured)}]
        deep_epochs = _within(_DEEP_STEPS / steps, _DEEP_EPOCHS)
        epochs, of_epoch = head_epochs + deep_epochs, measured.epoch_seconds.get(depth.train)
        seconds = None if of_epoch is None else 2 * samples * scored.seconds + deep_epochs * of_epoch
    return Plan(
        scored.candidate,
        depth,
        phases,
        epochs,
        patience=_within(epochs / 4, _PATIENCE),
        model_args=measured.model_args,
        reasons=_reasons(scored, depth, measured),
        seconds=seconds,
    )


def worth_verifying(ranking: Ranking, most: int) -> list[tuple[ScoredCandidate, Depth]]:
    """At most `most` candidates and depths to fine-tune as a trial: the advised ones, then others by their loss."""
    best = ranking.best
    rivals = [(one, one.depth) for one in ranking.judged[1:]]
    others = [(best, depth) for depth in best.depths if depth.stages != best.depth.stages]
    order = sorted([*rivals, *others], key=lambda pair: pair[1].probe.log_loss)
    return [(best, best.depth), *order][:most]


def reasons_of_order(ranking: Ranking) -> list[str]:
    """Sentences that say why the first candidate comes first."""
    best = ranking.best
    low, high = best.expected.accuracy_interval
    reasons = [
        f"{best.candidate}: a linear classifier on its features is right for {best.expected.accuracy:.1%} of "
        f"{best.size:,} training images that it has not seen (95 % interval {low:.1%} to {high:.1%})."
    ]
    rivals = ranking.cannot_be_told_apart()
    cheap = [one for one in rivals if (one.costs.forward or math.inf) < 0.7 * (best.costs.forward or 0)]
    if cheap:
        share = (cheap[0].costs.forward or 0) / (best.costs.forward or math.inf)
        reasons.append(
            f"{cheap[0].candidate} cannot be told apart from it by these images "
            f"({cheap[0].expected.accuracy:.1%}), and costs {share:.0%} of it."
        )
    elif rivals:
        names = ", ".join(str(one.candidate) for one in rivals[:3])
        reasons.append(f"These images cannot tell it apart from {names}; it costs no more than they do or little more.")
    return reasons


def _reasons(scored: ScoredCandidate, depth: Depth, measured: MeasuredCandidate) -> list[str]:
    head, whole = scored.depths[0], scored.depths[-1]
    reasons = []
    if depth.stages == HEAD_ONLY:
        gain = f"{head.probe.accuracy:.1%} with the last feature alone, {whole.probe.accuracy:.1%} with all stages'"
        nothing = whole.probe.accuracy <= head.probe.accuracy
        adds = "add nothing" if nothing else "add, if anything, less than these images can tell"
        reasons.append(f"Train the head alone: features of earlier stages {adds} to the last one's ({gain}).")
    else:
        worse = "add to the last one's" if is_worse(head.probe, depth.probe) else "may add to the last one's"
        gain = f"{head.probe.accuracy:.1%} with the last feature alone, {depth.probe.accuracy:.1%} with theirs"
        reasons.append(f"Train {depth.train}: the features of these stages {worse} ({gain}).")
    curve = {name: each for name, each in scored.curve.items() if name != LAST}
    if curve:
        peak = max(curve, key=lambda name: (curve[name].accuracy, -curve[name].log_loss))
        reasons.append(f"The pretrained features carry furthest at {peak}: {curve[peak].accuracy:.1%} by themselves.")
    if depth.stages != HEAD_ONLY:
        reasons.append(_reason_of_rate(measured))
    if measured.shift is not None and depth.stages != HEAD_ONLY:
        reasons.append("BatchNorm keeps the statistics of the pretraining: those of few images in batches are noisy.")
    return [*reasons, "Images are not augmented, so that the frozen part is computed once for each of them."]


def _rate(measured: MeasuredCandidate) -> float:
    """The learning rate of unfrozen stages, as a factor of the head's."""
    return 0.3 if measured.shift is not None and measured.shift > _FAR else 0.1


def _reason_of_rate(measured: MeasuredCandidate) -> str:
    rate = f"The learning rate of these stages is {_rate(measured):g} of the head's"
    if measured.shift is None:
        return f"{rate}: a rule of thumb for pretrained stages."
    how_far = "far" if measured.shift > _FAR else "not far"
    return (
        f"{rate}, for your images are {how_far} from those of the pretraining: BatchNorm's means on them lie "
        f"{measured.shift:.2f} standard deviations from its own. The factor is a rule of thumb, not measured."
    )


def _within(wanted: float, limits: tuple[int, int]) -> int:
    return int(min(max(math.ceil(wanted), limits[0]), limits[1]))
