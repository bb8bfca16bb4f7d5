"""The plan for fine-tuning that the evidence speaks for."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plt_nn.advice.candidates import Candidate
from plt_nn.advice.probes.depth import HEAD_ONLY, Depth
from plt_nn.advice.probes.probe import is_worse
from plt_nn.advice.probes.stage_features import LAST
from plt_nn.advice.ranking import Ranking, ScoredCandidate

BATCH, LR = 32, 1e-3
_FAR = 0.5  # standard deviations between BatchNorm's means; photographs of ants have 0.2 to 0.3, digits 0.6 to 0.8
# Steps of training that a phase may have, and within which numbers of epochs. A head alone costs next to nothing, and
# ends early by its patience where it need not go on; features that hardly vary on these images take it long.
_HEAD_STEPS, _FIRST_STEPS, _DEEP_STEPS = 1280, 80, 320
_HEAD_EPOCHS, _FIRST_EPOCHS, _DEEP_EPOCHS = (4, 160), (1, 10), (6, 30)
_PATIENCE = (4, 10)


@dataclass(frozen=True)
class Plan:
    """How to fine-tune a candidate.

    Args:
        candidate: The net and the size.
        depth: How many of its stages are trained at last.
        phases: As `FreezingSchedule` takes them.
        epochs: How many there are at most.
        patience: After how many epochs without a better loss training stops.
        model_args: Further arguments of `create_backbone`.
        reasons: The evidence for each choice, a sentence each.
        seconds: About how long it takes on this machine; None where that cannot be told.
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
    """What is measured of the one candidate for which a plan is made.

    Args:
        shift: See `batchnorm_shift`.
        epoch_seconds: How an epoch of training goes for each selection, in seconds; see `seconds_per_epoch`.
        model_args: Further arguments with which its net was built.
    """

    shift: float | None
    epoch_seconds: Mapping[str, float]
    model_args: Mapping[str, Any]


def propose(judged: ScoredCandidate, depth: Depth, measured: MeasuredCandidate, samples: int) -> Plan:
    """The plan for a candidate and a depth.

    Args:
        judged: The evidence.
        depth: How many of its stages to train.
        measured: What was measured besides.
        samples: Number of training images.
    """
    steps = max(1, samples // BATCH)
    if depth.stages == HEAD_ONLY:
        phases: list[dict[str, Any]] = [{"train": "head"}]
        head_epochs = epochs = _within(_HEAD_STEPS / steps, _HEAD_EPOCHS)
    else:
        head_epochs = _within(_FIRST_STEPS / steps, _FIRST_EPOCHS)
        phases = [{"train": "head"}, {"train": depth.train, "start": head_epochs, "lr_scale": _rate(measured)}]
        epochs = head_epochs + _within(_DEEP_STEPS / steps, _DEEP_EPOCHS)
    return Plan(
        judged.candidate,
        depth,
        phases,
        epochs,
        patience=_within(epochs / 4, _PATIENCE),
        model_args=measured.model_args,
        reasons=_reasons(judged, depth, measured),
        seconds=_seconds(judged, depth, measured, samples, head_epochs, epochs),
    )


def worth_verifying(ranking: Ranking, most: int) -> list[tuple[ScoredCandidate, Depth]]:
    """What is worth fine-tuning for a trial: the advice, its rivals, and other depths of the best.

    Args:
        ranking: The ranking.
        most: How many.
    """
    best = ranking.best
    rivals = [(one, one.depth) for one in ranking.judged[1:]]
    others = [(best, depth) for depth in best.depths if depth.stages != best.depth.stages]
    order = sorted([*rivals, *others], key=lambda pair: pair[1].probe.log_loss)
    return [(best, best.depth), *order][:most]


def reasons_of_order(ranking: Ranking) -> list[str]:
    """Why the first candidate is the first, a sentence each."""
    best = ranking.best
    low, high = best.expected.accuracy_interval
    told = [
        f"{best.candidate}: a linear classifier on its features tells {best.expected.accuracy:.1%} of {best.samples:,} "
        f"training images rightly that it has not seen (95 % interval {low:.1%} to {high:.1%})."
    ]
    rivals = ranking.cannot_be_told_apart()
    cheap = [one for one in rivals if (one.costs.forward or math.inf) < 0.7 * (best.costs.forward or 0)]
    if cheap:
        share = (cheap[0].costs.forward or 0) / (best.costs.forward or math.inf)
        told.append(
            f"{cheap[0].candidate} cannot be told apart from it by these images "
            f"({cheap[0].expected.accuracy:.1%}), and costs {share:.0%} of it."
        )
    elif rivals:
        names = ", ".join(str(one.candidate) for one in rivals[:3])
        told.append(f"These images cannot tell it apart from {names}; it costs no more than they do or little more.")
    return told


def _reasons(judged: ScoredCandidate, depth: Depth, measured: MeasuredCandidate) -> list[str]:
    head, whole = judged.depths[0], judged.depths[-1]
    told = []
    if depth.stages == HEAD_ONLY:
        gain = f"{head.probe.accuracy:.1%} with the last feature alone, {whole.probe.accuracy:.1%} with all stages'"
        nothing = whole.probe.accuracy <= head.probe.accuracy
        adds = "add nothing" if nothing else "add, if anything, less than these images can tell"
        told.append(f"Train the head alone: features of earlier stages {adds} to the last one's ({gain}).")
    else:
        worse = "add to the last one's" if is_worse(head.probe, depth.probe) else "may add to the last one's"
        gain = f"{head.probe.accuracy:.1%} with the last feature alone, {depth.probe.accuracy:.1%} with theirs"
        told.append(f"Train {depth.train}: the features of these stages {worse} ({gain}).")
    curve = {name: each for name, each in judged.curve.items() if name != LAST}
    if curve:
        peak = max(curve, key=lambda name: (curve[name].accuracy, -curve[name].log_loss))
        told.append(f"The pretrained features carry furthest at {peak}: {curve[peak].accuracy:.1%} by themselves.")
    if depth.stages != HEAD_ONLY:
        told.append(_reason_of_rate(measured))
    if measured.shift is not None and depth.stages != HEAD_ONLY:
        told.append("BatchNorm keeps the statistics of the pretraining: those of few images in batches are noisy.")
    return [*told, "Images are not augmented: what is frozen is then computed once for each of them."]


def _seconds(
    judged: ScoredCandidate, depth: Depth, measured: MeasuredCandidate, samples: int, head_epochs: int, epochs: int
) -> float | None:
    once = samples * judged.seconds  # the frozen part, once
    if depth.stages == HEAD_ONLY:
        return once
    of_epoch = measured.epoch_seconds.get(depth.train)
    return None if of_epoch is None else 2 * once + (epochs - head_epochs) * of_epoch


def _rate(measured: MeasuredCandidate) -> float:
    """The learning rate of stages that are thawed, as a factor of the head's."""
    return 0.3 if measured.shift is not None and measured.shift > _FAR else 0.1


def _reason_of_rate(measured: MeasuredCandidate) -> str:
    rate = f"The learning rate of these stages is {_rate(measured):g} of the head's"
    if measured.shift is None:
        return f"{rate}: a rule of thumb for what is pretrained."
    how_far = "far" if measured.shift > _FAR else "not far"
    return (
        f"{rate}, for your images are {how_far} from those of the pretraining: BatchNorm's means on them lie "
        f"{measured.shift:.2f} standard deviations from its own. The factor is a rule, and was not measured on them."
    )


def _within(wanted: float, limits: tuple[int, int]) -> int:
    return int(min(max(math.ceil(wanted), limits[0]), limits[1]))
